SELECT * FROM {{ ref('moods') }} WHERE length(review) < {{ var('shortest') }}
