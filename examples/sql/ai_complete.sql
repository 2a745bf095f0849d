-- A model that the call names completes a prompt.
-- Needs a model of your own that follows instructions.
SELECT id, ai_complete('sqlinfer/tiny', 'A ticket about a ' || product || ':', max_tokens := 6) AS text
FROM 'examples/data/tickets.csv' ORDER BY id LIMIT 2;
