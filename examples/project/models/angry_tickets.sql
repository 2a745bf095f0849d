-- Only the angry ones are classified and summarized. A row that fails is NULL and does not fail the table.
{{ config(on_error='null') }}

SELECT id, gist, concern, team
FROM (
    SELECT id, ai_summarize(body) AS gist,
           ai_classify(body, (SELECT list(concern ORDER BY concern) FROM {{ ref('teams') }})) AS concern
    FROM {{ ref('texts') }}
    WHERE kind = 'ticket' AND ai_filter(body, 'the customer is angry')
)
LEFT JOIN {{ ref('teams') }} USING (concern)
