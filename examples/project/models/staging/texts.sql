-- Both files in one form. Ephemeral: no table, but a part of the models that read it.
{{ config(materialized='ephemeral') }}

SELECT 'review' AS kind, id, {{ tidy('review') }} AS body FROM {{ source('files', 'reviews') }} WHERE id <= {{ var('most') }}
UNION ALL
SELECT 'ticket', id, {{ tidy('body') }} FROM {{ source('files', 'tickets') }} WHERE id <= {{ var('most') }}
