-- The long texts of a folder of CSV files, summarized by an endpoint's deployment into one file.
--   python make_model.py model      (a tiny one, of random weights; or a folder of your own)
--   sqlinfer models register --from deployment.yml
--   sqlinfer models deploy text-summarization 1
--   sqlinfer run summarize.sql --set texts='texts/*.csv'
-- A run that was stopped goes on where it was. To write predictions.csv again: --output-action replace
COPY (
    SELECT parse_filename(filename) AS file, title,
           ai_summarize(text, model := 'text-summarization', max_tokens := 40, on_error := 'null') AS prediction
    FROM read_csv(getvariable('texts'), filename = true)
) TO 'predictions.csv';

SELECT count(*) AS texts, count(prediction) AS summaries, count(DISTINCT file) AS files FROM 'predictions.csv';
