-- Calls whose type depends on their constants get it as an argument.
SELECT ai_extract(x, ['town', 'it''s']) FROM t
-->
SELECT ai_extract(x, ['town', 'it''s'], returns := 'STRUCT(town VARCHAR, \"it''s\" VARCHAR)') FROM t

SELECT ai_extract(x, y), ai_extract(x, ['a'], returns := 'JSON') FROM t
-->
SELECT ai_extract(x, y), ai_extract(x, ['a'], returns := 'JSON') FROM t

SELECT ai_extract(x, ['a b'], returns := 'STRUCT("a b" VARCHAR)'), ai_extract(x, ['a'], returns := 'STRUCT(\"a\" INTEGER)') FROM t
-->
SELECT ai_extract(x, ['a b'], returns := 'STRUCT(\"a b\" VARCHAR)'), ai_extract(x, ['a'], returns := 'STRUCT(\"a\" INTEGER)') FROM t

SELECT x.ai_extract(['é']), AI_EXTRACT(x /* , */, schema := ['a', 'b'] -- end
) FROM t
-->
SELECT x.ai_extract(['é'], returns := 'STRUCT(\"é\" VARCHAR)'), AI_EXTRACT(x /* , */, schema := ['a', 'b'] -- end
) FROM t

CREATE TABLE o AS WITH q AS (SELECT ai_extract(ai_extract(x, ['a']).a, ['b']) AS e FROM t) FROM q
-->
CREATE TABLE o AS WITH q AS (SELECT ai_extract(ai_extract(x, ['a'], returns := 'STRUCT(a VARCHAR)').a, ['b'], returns := 'STRUCT(b VARCHAR)') AS e FROM t) FROM q

UPDATE t SET a = ai_extract(b, ['c']).c WHERE ai_classify(d, ['e', 'f']) = 'e'
-->
UPDATE t SET a = ai_extract(b, ['c'], returns := 'STRUCT(c VARCHAR)').c WHERE ai_classify(d, ['e', 'f']) = 'e'

MERGE INTO t USING s ON t.i = s.i WHEN MATCHED THEN UPDATE SET x = ai_extract(s.x, ['n'])
-->
MERGE INTO t USING s ON t.i = s.i WHEN MATCHED THEN UPDATE SET x = ai_extract(s.x, ['n'], returns := 'STRUCT(n VARCHAR)')

SELECT ai_extract(x, ['a' || 'b']), ai_extract(x, [lower('A')]) FROM t
-->
SELECT ai_extract(x, ['a' || 'b'], returns := 'STRUCT(ab VARCHAR)'), ai_extract(x, [lower('A')]) FROM t

SELECT 'ai_extract(x, [''a''])' FROM t WHERE ai_extract(x, ['a']
-->
SELECT 'ai_extract(x, [''a''])' FROM t WHERE ai_extract(x, ['a']
