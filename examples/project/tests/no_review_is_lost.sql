SELECT id FROM {{ source('files', 'reviews') }} WHERE id <= {{ var('most') }}
EXCEPT
SELECT id FROM {{ ref('moods') }}
