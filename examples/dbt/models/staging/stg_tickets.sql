SELECT id, customer, product, body FROM {{ ref('tickets') }} WHERE id <= {{ var('most') }}
