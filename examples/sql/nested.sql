-- A call over the answers of other calls: each product's gists become one text, and that text one line.
-- The first level is asked for all rows before the second begins.
CREATE TEMP TABLE tickets AS
FROM read_csv(coalesce(getvariable('tickets'), 'examples/data/tickets.csv'));

SELECT product,
       count(*) AS tickets,
       summarize(string_agg(summarize(body, max_words := 5), '. ' ORDER BY id), max_words := 8) AS gist
FROM tickets
GROUP BY product
ORDER BY product;
