-- Fields of a text as a typed STRUCT; what the text does not tell is NULL.
CREATE OR REPLACE TABLE extracted AS
SELECT id, unnest(ai_extract(review, ['product', 'price', 'city', 'order number']))
FROM read_csv(coalesce(getvariable('reviews'), 'examples/data/reviews.csv'))
WHERE id <= 200;

FROM extracted ORDER BY id LIMIT 5;

SELECT city, count(*) AS reviews FROM extracted WHERE city IS NOT NULL GROUP BY city ORDER BY reviews DESC, city LIMIT 3;
