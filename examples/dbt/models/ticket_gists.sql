SELECT id, product, topic, ai_summarize(body, max_words := 15) AS gist FROM {{ ref('ticket_topics') }}
