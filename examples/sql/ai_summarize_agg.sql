-- A summary of the different texts of each product.
SELECT product, ai_summarize_agg(DISTINCT body, max_words := 5) AS gist
FROM 'examples/data/tickets.csv' GROUP BY product ORDER BY product;
