-- How many tickets are friendly, and how many are not.
SELECT ai_sentiment(body) AS mood, count(*) AS tickets
FROM 'examples/data/tickets.csv' GROUP BY mood ORDER BY mood;
