-- Each AI call carries its number.
SELECT ai_gen(x), ai_gen(y) FROM t
-->
SELECT ai_gen(x, __sqlinfer_site := 1), ai_gen(y, __sqlinfer_site := 2) FROM t

SELECT ai_gen(ai_gen(x) || 'ü (', max_tokens := 3), x.ai_gen() FROM t
-->
SELECT ai_gen(ai_gen(x, __sqlinfer_site := 2) || 'ü (', max_tokens := 3, __sqlinfer_site := 1), x.ai_gen(__sqlinfer_site := 3) FROM t

SELECT ai_agg(x ORDER BY y, z), ai_agg(DISTINCT x, 'why?') OVER (ORDER BY i) FROM t
-->
SELECT ai_agg(x, __sqlinfer_site := 1 ORDER BY y, z), ai_agg(DISTINCT x, 'why?', __sqlinfer_site := 2) OVER (ORDER BY i) FROM t

WITH q AS (SELECT ai_gen(x /* ai_gen(y) */) AS a FROM t) INSERT INTO o SELECT main.ai_gen(a) FROM q
-->
WITH q AS (SELECT ai_gen(x, __sqlinfer_site := 1 /* ai_gen(y) */) AS a FROM t) INSERT INTO o SELECT main.ai_gen(a, __sqlinfer_site := 2) FROM q

UPDATE t SET a = ai_gen(b) WHERE ai_if(c, 'd?')
-->
UPDATE t SET a = ai_gen(b, __sqlinfer_site := 1) WHERE ai_if(c, 'd?', __sqlinfer_site := 2)

MERGE INTO t USING s ON t.i = s.i WHEN MATCHED THEN UPDATE SET x = ai_gen(s.x)
-->
MERGE INTO t USING s ON t.i = s.i WHEN MATCHED THEN UPDATE SET x = ai_gen(s.x, __sqlinfer_site := 1)

COPY (SELECT "ai_gen"(x), 'ai_gen(y)', ai_gen FROM t) TO 'x.csv' -- ai_gen(z)
-->
COPY (SELECT "ai_gen"(x, __sqlinfer_site := 1), 'ai_gen(y)', ai_gen FROM t) TO 'x.csv' -- ai_gen(z)

SELECT ai_gen(), ai_gen(x
-->
SELECT ai_gen(__sqlinfer_site := 1), ai_gen(x
