{{ config(materialized='incremental', unique_key='id') }}

SELECT id, customer, product, body,
       ai_classify(body, ['delivery', 'refund', 'bug', 'question']) AS topic
FROM {{ ref('stg_tickets') }}
{% if is_incremental() %}
WHERE id > (SELECT max(id) FROM {{ this }})
{% endif %}
