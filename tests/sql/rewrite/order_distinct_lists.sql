-- Lists of distinct values beside a call of an AI function.
SELECT ai_classify(x, (SELECT list(DISTINCT l) FROM labels)) FROM t
-->
SELECT ai_classify(x, (SELECT list(DISTINCT l ORDER BY l) FROM labels)) FROM t

SELECT ai_gen(string_agg(DISTINCT x || 'ü', ', ')), ARRAY_AGG(DISTINCT (y)) FROM t
-->
SELECT ai_gen(string_agg(DISTINCT x || 'ü', ', ' ORDER BY x || 'ü')), ARRAY_AGG(DISTINCT (y) ORDER BY (y)) FROM t

WITH q AS (SELECT list(DISTINCT l /* DISTINCT */) AS ls FROM labels) SELECT ai_classify(x, ls) FROM t, q
-->
WITH q AS (SELECT list(DISTINCT l ORDER BY l /* DISTINCT */) AS ls FROM labels) SELECT ai_classify(x, ls) FROM t, q

SELECT ai_gen(string_agg(DISTINCT x, ', ' ORDER BY x DESC)), list(x), count(DISTINCT x) FROM t
-->
SELECT ai_gen(string_agg(DISTINCT x, ', ' ORDER BY x DESC)), list(x), count(DISTINCT x) FROM t

SELECT list(DISTINCT x) FROM t
-->
SELECT list(DISTINCT x) FROM t
