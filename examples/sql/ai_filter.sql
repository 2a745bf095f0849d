-- Keeps the rows for which a condition holds.
SELECT product, count(*) AS tickets
FROM 'examples/data/tickets.csv' WHERE id <= 60 AND ai_filter(body, 'the customer asks a question') GROUP BY product ORDER BY product;
