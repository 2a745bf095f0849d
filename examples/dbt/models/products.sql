SELECT product, count(*) AS tickets, mode(topic) AS topic, list(gist ORDER BY id)[:3] AS gists
FROM {{ ref('ticket_gists') }} GROUP BY product ORDER BY tickets DESC, product
