-- The label of a classifier that is registered as 'classifier'.
SELECT id, ai_predict('classifier', body) AS label
FROM 'examples/data/tickets.csv' ORDER BY id LIMIT 2;
