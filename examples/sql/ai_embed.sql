-- A vector for each text, from an encoder.
SELECT product, len(ai_embed(product)) AS dimensions
FROM 'examples/data/tickets.csv' GROUP BY product ORDER BY product LIMIT 3;
