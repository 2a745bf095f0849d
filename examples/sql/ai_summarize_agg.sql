-- A summary of the different texts of each product.
-- Needs a model of your own that follows instructions.
SELECT product, ai_summarize_agg(DISTINCT body) AS gist
FROM 'examples/data/tickets.csv' WHERE product IN ('kettle', 'lamp') GROUP BY product ORDER BY product;
