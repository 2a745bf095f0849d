-- A vector for each text, from an encoder that is registered as 'encoder'.
SELECT product, len(ai_embed(product, model := 'encoder')) AS dimensions
FROM 'examples/data/tickets.csv' GROUP BY product ORDER BY product;
