{{ config(materialized='view') }}

SELECT 'reviews that are ' || mood AS what, count(*) AS texts FROM {{ ref('moods') }} GROUP BY mood
UNION ALL
SELECT 'angry tickets for ' || team, count(*) FROM {{ ref('angry_tickets') }} GROUP BY team
