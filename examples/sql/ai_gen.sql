-- The default model answers a prompt.
SELECT id, ai_gen('Answer in one line: ' || body, max_tokens := 6) AS answer
FROM 'examples/data/tickets.csv' ORDER BY id LIMIT 2;
