-- Fields of a text; the answer always parses.
SELECT id, ai_extract(body, ['part', 'problem'], max_tokens := 40) AS facts
FROM 'examples/data/tickets.csv' ORDER BY id LIMIT 2;
