-- Three questions about tickets: who is angry, what about, in one sentence. Equal texts are one question, only the angry
-- ones are summarized and classified, and a second run asks nothing.
-- Run it from the folder that holds examples/, or say where the file lies: --set tickets=PATH
CREATE OR REPLACE TABLE angry AS
SELECT id,
       ai_summarize(body) AS gist,
       ai_classify(body, ['bug', 'billing', 'delivery', 'refund', 'question', 'cancellation', 'praise']) AS kind
FROM read_csv(coalesce(getvariable('tickets'), 'examples/data/tickets.csv'))
WHERE ai_filter(body, 'the customer is angry');

FROM angry ORDER BY id LIMIT 5;

-- Answers are values like any others: group, join and filter them.
SELECT kind, count(*) AS tickets FROM angry GROUP BY kind ORDER BY tickets DESC, kind;
