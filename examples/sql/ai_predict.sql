-- The label of a classifier that is registered as 'classifier'.
-- Needs a classifier of your own.
SELECT id, ai_predict('classifier', body) AS label
FROM 'examples/data/tickets.csv' ORDER BY id LIMIT 2;
