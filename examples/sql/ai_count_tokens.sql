-- Needs the tokenizer alone.
SELECT product, sum(ai_count_tokens(body)) AS tokens
FROM 'examples/data/tickets.csv' GROUP BY product ORDER BY product;
