-- One sentence for each text. A tenth of the reviews stand there twice and are asked once.
CREATE OR REPLACE TABLE summaries AS
SELECT id, ai_summarize(review) AS summary
FROM read_csv(coalesce(getvariable('reviews'), 'examples/data/reviews.csv'))
WHERE id <= 60;

FROM summaries ORDER BY id LIMIT 5;
