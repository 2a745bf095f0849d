-- A few records at once, in one request: each has its own parameters, and all are computed in one batch.
SELECT id, ai_query('flan', text_inputs, modelParameters := {max_tokens: max_tokens}) AS generated_text
FROM (VALUES (1, 'Translate to German: The lamp is bright.', 8), (2, 'Answer the question: Is it Monday?', 4))
     AS request(id, text_inputs, max_tokens);
