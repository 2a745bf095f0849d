-- The functions under BigQuery's names, and under those that SQL knows.
SELECT AI.GENERATE(x), ai.classify(y, categories => ['a', 'b']) FROM t
-->
SELECT ai_gen(x), ai_classify(y, labels => ['a', 'b']) FROM t

SELECT AI . SUMMARIZE(x, max_words := 3) FROM t
-->
SELECT ai_summarize(x, max_words := 3) FROM t

SELECT id FROM t WHERE AI.IF(('is it (so), really?', x))
-->
SELECT id FROM t WHERE ai_if(x, 'is it (so), really?')

SELECT AI.IF((x)), AI.IF(('a', 'b', x)), AI.IF(x, 'late?') FROM t
-->
SELECT ai_if((x)), ai_if(('a', 'b', x)), ai_if(x, 'late?') FROM t

WITH q AS (SELECT AI.GENERATE(AI.GENERATE(x) || 'é', model := 'm') AS y FROM t) SELECT AI.SIMILARITY(content1 => y, content2 => 'ü') FROM q
-->
WITH q AS (SELECT ai_gen(ai_gen(x) || 'é', model := 'm') AS y FROM t) SELECT ai_similarity(a => y, b => 'ü') FROM q

CREATE TABLE o AS SELECT AI.CLASSIFY(AI.IF(('x', y))::VARCHAR, /* AI.IF(z) */ categories := [ai.generate('AI.IF(q)')]) FROM t
-->
CREATE TABLE o AS SELECT ai_classify(ai_if(y, 'x')::VARCHAR, /* AI.IF(z) */ labels := [ai_gen('AI.IF(q)')]) FROM t

UPDATE t SET a = AI.GENERATE(content => b) WHERE AI.IF(('c', d)) RETURNING AI.SCORE(('e', f))
-->
UPDATE t SET a = ai_gen(text => b) WHERE ai_if(d, 'c') RETURNING ai_score(f, 'e')

SELECT main.ai.generate, db.ai.gen(x), ai.x, "AI".GENERATE(y) FROM ai
-->
SELECT main.ai.generate, db.ai.gen(x), ai.x, ai_gen(y) FROM ai

SELECT AI.CLASIFY(x, ['a']) FROM t
-->
Error: there is no function AI.CLASIFY. Did you mean classify?

SELECT AI.GENERATE(x
-->
SELECT AI.GENERATE(x
