-- Only what is new: run it daily on one database file, and it asks about the rows that came since.
--   sqlinfer run examples/sql/incremental.sql --db tickets.duckdb
CREATE TABLE IF NOT EXISTS gists (id INTEGER PRIMARY KEY, product VARCHAR, gist VARCHAR);

INSERT INTO gists
SELECT id, product, ai_summarize(body)
FROM read_csv(coalesce(getvariable('tickets'), 'examples/data/tickets.csv')) AS tickets
WHERE body IS NOT NULL
  AND NOT EXISTS (FROM gists WHERE gists.id = tickets.id);

SELECT count(*) AS gists, max(id) AS newest FROM gists;
