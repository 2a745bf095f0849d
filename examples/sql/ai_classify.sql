-- One of the labels, whatever the text says.
SELECT id, ai_classify(body, ['defect', 'question', 'praise']) AS kind
FROM 'examples/data/tickets.csv' ORDER BY id LIMIT 3;
