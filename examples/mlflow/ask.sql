-- sqlinfer run ask.sql --db reviews.duckdb
-- The same model answers a prompt of yours, with parameters of its own.
SELECT id, ai_query('summarizer@champion', 'summarize: ' || review, max_tokens := 12) AS answer
FROM reviews
WHERE id <= 3
ORDER BY id;
