-- A long text may be read in parts, and the summaries summarized.
SELECT id, summarize(body, max_words := 5, overflow := 'hierarchical') AS gist
FROM 'examples/data/tickets.csv' ORDER BY id LIMIT 2;
