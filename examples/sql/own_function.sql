-- A function of your own: udfs/reply.py beside this file defines reply(text, tone := 'friendly').
SELECT id, customer, reply(body, tone := 'brief', max_tokens := 10) AS answer
FROM read_csv(coalesce(getvariable('tickets'), 'examples/data/tickets.csv'))
WHERE product = 'radio'
ORDER BY id;
