SELECT id, review, ai_sentiment(review) AS sentiment FROM {{ ref('stg_reviews') }}
