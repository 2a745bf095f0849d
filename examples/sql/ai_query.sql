-- A model that the call names answers a request; rows that fail are NULL.
SELECT id, ai_query('sqlinfer/random', 'Who can help? ' || body, max_tokens := 6, on_error := 'null') AS answer
FROM 'examples/data/tickets.csv' ORDER BY id LIMIT 2;
