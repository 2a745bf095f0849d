-- One answer about all tickets of a product, in the order of their numbers. Groups may be of any size.
-- Needs a model of your own that follows instructions.
SELECT product, ai_agg(body, 'What goes wrong most often?', max_tokens := 8 ORDER BY id) AS problem
FROM 'examples/data/tickets.csv' WHERE product IN ('kettle', 'lamp') GROUP BY product ORDER BY product;
