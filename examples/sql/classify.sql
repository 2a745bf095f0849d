-- One of your labels for each text, and how sure the model is. Labels are scored, not written: no other can come out.
CREATE OR REPLACE TABLE classified AS
SELECT id, answer.label AS sentiment, answer.confidence AS confidence
FROM (
    SELECT id, ai_classify(review, ['positive', 'negative', 'neutral', 'mixed'], return_confidence := true) AS answer
    FROM read_csv(coalesce(getvariable('reviews'), 'examples/data/reviews.csv'))
    WHERE id <= 200
);

SELECT sentiment, count(*) AS reviews, round(min(confidence), 2) AS least_sure
FROM classified GROUP BY sentiment ORDER BY reviews DESC, sentiment;
