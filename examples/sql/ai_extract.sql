-- Fields of a text, each of its type; the answer always parses, and a field that the text does not tell is NULL.
SELECT id, facts.part, facts.cost
FROM (SELECT id, ai_extract(body, {'part': 'VARCHAR', 'cost': 'DECIMAL(8,2)'}, max_tokens := 64) AS facts
      FROM 'examples/data/tickets.csv')
ORDER BY id LIMIT 2;
