-- sqlinfer models register digits ./model --script score.py ..., then the forest under the same name: version 2
-- python forest/train.py digits.parquet forest/model.onnx
-- sqlinfer models register digits ./forest --script score.py --input BLOB --trust \
--   --returns 'STRUCT(class INTEGER, probability DOUBLE)' --set mini_batch_size=1000
SELECT count(*) AS images,
    round(avg((network.class = label)::INTEGER), 4) AS network,
    round(avg((forest.class = label)::INTEGER), 4) AS forest,
    round(avg((network.class = forest.class)::INTEGER), 4) AS agreement
FROM (
    SELECT label, ai_predict('digits/1', content) AS network, ai_predict('digits/2', content) AS forest
    FROM 'digits.parquet' WHERE id >= 5000  -- of which the forest has learned none
);
