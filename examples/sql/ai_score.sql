-- The rows that fit a criterion best come first.
SELECT id, round(ai_score(body, 'the customer is angry'), 2) AS anger
FROM 'examples/data/tickets.csv' WHERE id <= 50 ORDER BY anger DESC, id LIMIT 3;
