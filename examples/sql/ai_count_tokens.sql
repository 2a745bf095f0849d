-- Reads the tokenizer alone.
SELECT product, sum(ai_count_tokens(body)) AS tokens
FROM 'examples/data/tickets.csv' WHERE product IN ('kettle', 'lamp') GROUP BY product ORDER BY product;
