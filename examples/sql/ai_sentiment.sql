-- How many reviews are friendly, and how many are not.
SELECT ai_sentiment(review) AS mood, count(*) AS reviews
FROM 'examples/data/reviews.csv' WHERE id <= 60 GROUP BY mood ORDER BY mood;
