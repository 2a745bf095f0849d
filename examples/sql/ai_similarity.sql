-- The two products whose names are nearest to a word, by an encoder that is registered as 'encoder'.
SELECT product, round(ai_similarity(product, 'lamp', model := 'encoder'), 2) AS nearness
FROM 'examples/data/tickets.csv' GROUP BY product ORDER BY nearness DESC, product LIMIT 2;
