-- The reviews that are nearest to a few words.
-- Needs an encoder of your own: the built-in one knows few words.
SELECT id, round(ai_similarity(review, 'a new lamp'), 2) AS nearness
FROM 'examples/data/reviews.csv' WHERE id <= 100 ORDER BY nearness DESC, id LIMIT 3;
