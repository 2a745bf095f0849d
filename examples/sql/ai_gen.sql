-- The default model answers a prompt.
SELECT id, ai_gen('Which product is it about?' || chr(10) || chr(10) || body) AS product
FROM 'examples/data/tickets.csv' ORDER BY id LIMIT 2;
