-- A column that fills itself: rows without a kind get one, the others are not asked.
--   sqlinfer run examples/sql/update.sql --db tickets.duckdb
CREATE TABLE IF NOT EXISTS tickets AS
SELECT *, NULL::VARCHAR AS kind
FROM read_csv(coalesce(getvariable('tickets'), 'examples/data/tickets.csv'));

UPDATE tickets
SET kind = ai_classify(body, ['bug', 'billing', 'delivery', 'refund', 'question', 'cancellation', 'praise'])
WHERE kind IS NULL;

SELECT kind, count(*) AS tickets FROM tickets GROUP BY kind ORDER BY tickets DESC, kind;
