SELECT id, gist FROM {{ ref('ticket_gists') }} WHERE ai_count_tokens(gist) > 60
