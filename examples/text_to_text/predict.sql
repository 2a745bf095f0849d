-- Records of JSON Lines to predictions of JSON Lines, matched by id. A record may have parameters of its own; those of
-- the whole job come from the environment. A max_length counts the token that starts the output, max_tokens does not.
--   python make_model.py model      (a tiny one, of random weights; or a folder of your own)
--   sqlinfer models register flan ./model
--   export HYPER_PARAMS='{"max_length": 20, "num_return_sequences": 1}'
--   sqlinfer run predict.sql --set hyper_params="$HYPER_PARAMS"
CREATE OR REPLACE TABLE records AS
SELECT unnest(from_json(
    json_merge_patch(coalesce(getvariable('hyper_params'), '{}')::JSON, json),
    '{"id": "BIGINT", "text_inputs": "VARCHAR", "max_length": "INTEGER", "do_sample": "BOOLEAN", "temperature": "DOUBLE",
      "top_k": "INTEGER", "top_p": "DOUBLE", "num_return_sequences": "INTEGER"}'))
FROM read_ndjson_objects('records.jsonl');

COPY (
    SELECT id, list(generated_text ORDER BY sequence) AS generated_texts
    FROM (SELECT id, sequence,
                 ai_gen(text_inputs, model := 'flan', max_tokens := max_length - 1, top_k := top_k, top_p := top_p,
                        temperature := CASE WHEN do_sample THEN coalesce(temperature, 1) ELSE 0 END,
                        seed := sequence, on_error := 'null') AS generated_text
          FROM (SELECT *, unnest(range(coalesce(num_return_sequences, 1))) AS sequence FROM records))
    GROUP BY id ORDER BY id
) TO 'predictions.jsonl' (FORMAT json);

SELECT count(*) AS records, avg(scores.rouge1) AS rouge1, avg(scores.rougeL) AS rouge_l
FROM (SELECT rouge(generated_texts[1], reference) AS scores FROM 'predictions.jsonl' JOIN 'references.jsonl' USING (id));
