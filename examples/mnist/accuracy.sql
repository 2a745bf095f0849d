-- sqlinfer models register digits ./model --script score.py --input BLOB --trust \
--   --returns 'STRUCT(class INTEGER, probability DOUBLE)' --set mini_batch_size=1000
CREATE OR REPLACE TABLE predictions AS
SELECT id, label, ai_predict('digits', content) AS prediction FROM 'digits.parquet';

SELECT count(*) AS images, round(avg((prediction.class = label)::INTEGER), 4) AS accuracy FROM predictions;
