SELECT id, review FROM {{ ref('reviews') }} WHERE id <= {{ var('most') }}
