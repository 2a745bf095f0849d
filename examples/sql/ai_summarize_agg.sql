-- A summary of the different texts of each product.
SELECT product, ai_summarize_agg(DISTINCT body) AS gist
FROM 'examples/data/tickets.csv' WHERE product IN ('kettle', 'lamp') GROUP BY product ORDER BY product;
