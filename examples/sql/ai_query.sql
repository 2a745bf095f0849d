-- A model that the call names answers a request, in a type that the call names; failed rows have a message.
-- Needs a model of your own that follows instructions.
SELECT id, answer.response.urgent, answer.response.days, answer.errorMessage
FROM (SELECT id, ai_query('sqlinfer/tiny', 'How urgent is this? ' || body, failOnError => false,
                          returnType => 'STRUCT(urgent BOOLEAN, days UTINYINT)') AS answer
      FROM 'examples/data/tickets.csv')
ORDER BY id LIMIT 2;
