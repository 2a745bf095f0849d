-- The rows that fit a criterion best come first.
SELECT id, round(ai_score(body, 'the matter is urgent'), 2) AS urgency
FROM 'examples/data/tickets.csv' ORDER BY urgency DESC, id LIMIT 3;
