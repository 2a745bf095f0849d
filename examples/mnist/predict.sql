-- What answers is the version that is deployed: sqlinfer models deploy digits 2; sqlinfer models rollback digits
COPY (
    SELECT id, prediction.class AS class, round(prediction.probability, 3) AS probability
    FROM (SELECT id, ai_predict('digits', content) AS prediction FROM 'digits.parquet' WHERE id >= 9000)
    ORDER BY id
) TO 'predictions.csv';
