-- Fields of a text, each of its type; the answer always parses, and a field that the text does not tell is NULL.
SELECT id, facts.product, facts.price
FROM (SELECT id, ai_extract(body, {'product': 'VARCHAR', 'price': 'DECIMAL(8,2)'}, max_tokens := 64) AS facts
      FROM 'examples/data/tickets.csv')
ORDER BY id LIMIT 2;
