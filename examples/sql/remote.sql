-- Made for a model behind an address, where each request costs money: a budget, a bound on the length, and one request a
-- distinct text. sqlinfer models register gpt openai:gpt-5-mini; sqlinfer run examples/sql/remote.sql --model gpt
SET sqlinfer_max_cost = 0.50;
SET sqlinfer_requests_per_minute = 500;

CREATE OR REPLACE TABLE answered AS
SELECT id, ai_sentiment(review) AS sentiment, ai_gen('In five words: ' || review, max_tokens := 20) AS gist
FROM read_csv(coalesce(getvariable('reviews'), 'examples/data/reviews.csv'))
WHERE id <= 20;

SELECT sentiment, count(*) AS reviews FROM answered GROUP BY sentiment ORDER BY sentiment;
