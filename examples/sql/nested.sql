-- A question about the answer to a question: the summaries are made first, for all rows, and then judged.
CREATE OR REPLACE TABLE judged AS
SELECT id, gist, ai_sentiment(gist) AS sentiment
FROM (
    SELECT id, ai_summarize(review) AS gist
    FROM read_csv(coalesce(getvariable('reviews'), 'examples/data/reviews.csv'))
    WHERE id <= 150
);

SELECT sentiment, count(*) AS reviews, min(gist) AS one_of_them FROM judged GROUP BY sentiment ORDER BY sentiment;
