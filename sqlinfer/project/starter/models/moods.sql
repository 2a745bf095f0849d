-- An incremental model asks about new and changed rows alone.
{{ config(materialized='incremental', unique_key='id') }}

SELECT id, review, ai_sentiment(review) AS mood
FROM {{ ref('reviews') }} AS new
WHERE length(review) >= {{ var('shortest') }}
{% if is_incremental() %}
  AND NOT EXISTS (FROM {{ this }} AS old WHERE old.id = new.id AND old.review = new.review)
{% endif %}
