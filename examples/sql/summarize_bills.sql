-- A CSV of bills becomes a table of summaries. Stop it whenever you like: the next run goes on where it was.
--   sqlinfer run examples/sql/summarize_bills.sql --db bills.duckdb
--   sqlinfer run examples/sql/summarize_bills.sql --db bills.duckdb --set bills=PATH --set max_words=60
-- The file has the columns title and text.
CREATE OR REPLACE TABLE bill_summaries AS
SELECT title,
       ai_summarize(text, max_words := coalesce(getvariable('max_words'), '12')::INTEGER) AS summary,
       ai_count_tokens(text) AS tokens
FROM read_csv(coalesce(getvariable('bills'), 'examples/data/bills.csv'));

SELECT CASE WHEN tokens < 300 THEN '1 short' WHEN tokens < 3000 THEN '2 middle' ELSE '3 long' END AS size,
       count(*) AS bills,
       sum(tokens)::BIGINT AS tokens,
       round(avg(length(summary))) AS characters_in_summary
FROM bill_summaries
GROUP BY size
ORDER BY size;
