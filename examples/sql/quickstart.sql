-- Two questions about each ticket. Equal texts are one question, and a second run asks nothing.
-- Run it from the folder that holds examples/, or say where the file lies: --set tickets=PATH
CREATE TEMP TABLE tickets AS
FROM read_csv(coalesce(getvariable('tickets'), 'examples/data/tickets.csv'));

-- Token counts need the model's tokenizer alone; the gist needs the model.
SELECT id, product, ai_count_tokens(body) AS tokens, summarize(body, max_words := 6) AS gist
FROM tickets
ORDER BY id
LIMIT 8;

-- Answers are values like any others: group, join and filter them.
SELECT product,
       count(*) AS tickets,
       count(DISTINCT body) AS texts,
       sum(ai_count_tokens(body)) AS tokens,
       count(DISTINCT summarize(body, max_words := 6)) AS gists
FROM tickets
GROUP BY product
ORDER BY product;
