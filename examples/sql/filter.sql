-- A condition in words. Cheap conditions go first, so that only their rows are asked.
CREATE OR REPLACE TABLE complaints AS
SELECT id, review
FROM read_csv(coalesce(getvariable('reviews'), 'examples/data/reviews.csv'))
WHERE id <= 400
  AND ai_filter(review, 'the customer complains about the delivery');

SELECT id, review[:60] AS beginning FROM complaints ORDER BY id LIMIT 5;
