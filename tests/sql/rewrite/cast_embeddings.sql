-- Embeddings get the width of their model: 64 of the default one, 128 of `wide`, unknown of others.
SELECT ai_embed(x)[1] FROM t
-->
SELECT (ai_embed(x)::FLOAT[64])[1] FROM t

SELECT ai_embed(x, model := 'wide'), ai_embed(x, model => 'other'), ai_embed(x, model := y) FROM t
-->
SELECT (ai_embed(x, model := 'wide')::FLOAT[128]), ai_embed(x, model => 'other'), ai_embed(x, model := y) FROM t

SELECT main.ai_embed(x), t.x.ai_embed(), (x || 'é').ai_embed() FROM t
-->
SELECT (main.ai_embed(x)::FLOAT[64]), (t.x.ai_embed()::FLOAT[64]), (x || 'é').ai_embed() FROM t

INSERT INTO t SELECT AI_EMBED(ai_gen('ü ' || x)) /* ai_embed(y) */ FROM r ORDER BY array_distance(ai_embed(a), ai_embed('b'))
-->
INSERT INTO t SELECT (AI_EMBED(ai_gen('ü ' || x))::FLOAT[64]) /* ai_embed(y) */ FROM r ORDER BY array_distance((ai_embed(a)::FLOAT[64]), (ai_embed('b')::FLOAT[64]))

WITH q AS (SELECT ai_embed(x) AS v FROM t) SELECT v FROM q
-->
WITH q AS (SELECT (ai_embed(x)::FLOAT[64]) AS v FROM t) SELECT v FROM q

UPDATE t SET v = ai_embed(x) WHERE i = 1
-->
UPDATE t SET v = (ai_embed(x)::FLOAT[64]) WHERE i = 1

COPY (SELECT ai_embed(x) FROM t) TO 'x.parquet'
-->
COPY (SELECT (ai_embed(x)::FLOAT[64]) FROM t) TO 'x.parquet'

CREATE TABLE o AS SELECT ai_embed(x) AS v FROM t
-->
CREATE TABLE o AS SELECT (ai_embed(x)::FLOAT[64]) AS v FROM t

CREATE OR REPLACE VIEW v AS SELECT ai_embed(x) FROM t
-->
CREATE OR REPLACE VIEW v AS SELECT ai_embed(x) FROM t

CREATE TEMP MACRO m(x) AS ai_embed(x)
-->
CREATE TEMP MACRO m(x) AS ai_embed(x)

PREPARE p AS SELECT ai_embed(?)
-->
PREPARE p AS SELECT ai_embed(?)

SELECT list_cosine_similarity(ai_embed(x), ai_embed(y)) FROM t
-->
SELECT list_cosine_similarity(ai_embed(x), ai_embed(y)) FROM t

SELECT 'ai_embed(x)', ai_embed FROM ai_embed -- ai_embed(x)
-->
SELECT 'ai_embed(x)', ai_embed FROM ai_embed -- ai_embed(x)
