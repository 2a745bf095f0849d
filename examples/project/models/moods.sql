-- Incremental: a second build looks at new and changed reviews alone.
{{ config(materialized='incremental', unique_key='id', tags=['nightly']) }}

SELECT id, body, ai_sentiment(body) AS mood
FROM {{ ref('texts') }} AS new
WHERE kind = 'review'
{% if is_incremental() %}
  AND NOT EXISTS (FROM {{ this }} AS old WHERE old.id = new.id AND old.body = new.body)
{% endif %}
