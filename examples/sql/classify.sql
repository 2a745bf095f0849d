-- One of your labels for each text. The labels are scored, not written, so that no other answer can come out.
CREATE OR REPLACE TABLE classified AS
SELECT id, ai_classify(review, ['positive', 'negative', 'neutral', 'mixed']) AS sentiment,
       ai_classify(review, ['kettle', 'lamp', 'radio', 'phone', 'another product']) AS product
FROM read_csv(coalesce(getvariable('reviews'), 'examples/data/reviews.csv'))
WHERE id <= 200;

SELECT sentiment, count(*) AS reviews FROM classified GROUP BY sentiment ORDER BY reviews DESC, sentiment;
