{{ config(materialized='view') }}

SELECT mood, count(*) AS reviews FROM {{ ref('moods') }} GROUP BY mood
