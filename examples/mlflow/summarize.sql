-- sqlinfer models import summarizer
-- sqlinfer run summarize.sql --db reviews.duckdb --mlflow
CREATE OR REPLACE TABLE reviews AS
SELECT id, review FROM read_csv(coalesce(getvariable('reviews'), '../data/reviews.csv')) WHERE id <= 12;

CREATE OR REPLACE TABLE summaries AS
SELECT id, ai_summarize(review, model := 'summarizer@champion') AS summary
FROM reviews;

SELECT count(*) AS summaries, round(avg(length(summary))) AS characters FROM summaries;
