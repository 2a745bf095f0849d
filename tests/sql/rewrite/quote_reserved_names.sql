-- A text, then the text with reserved names of functions quoted.
SELECT summarize(x), Summarize (y), "summarize"(z), t.summarize(), main.summarize(x)
-->
SELECT "summarize"(x), "summarize" (y), "summarize"(z), t.summarize(), main.summarize(x)

SUMMARIZE t
-->
SUMMARIZE t

SELECT 'summarize(x)', $$summarize(x)$$ -- summarize(x)
-->
SELECT 'summarize(x)', $$summarize(x)$$ -- summarize(x)

FROM (SUMMARIZE (SELECT 1)) 
-->
FROM (SUMMARIZE (SELECT 1))

INSERT INTO t SELECT summarize('ü' || summarize(x /* summarize(y) */)) FROM r
-->
INSERT INTO t SELECT "summarize"('ü' || "summarize"(x /* summarize(y) */)) FROM r

WITH q AS (SELECT SUMMARIZE(x) AS s FROM t) UPDATE o SET a = summarize(s) FROM q WHERE summarize (b) = 'summarize'
-->
WITH q AS (SELECT "summarize"(x) AS s FROM t) UPDATE o SET a = "summarize"(s) FROM q WHERE "summarize" (b) = 'summarize'

SUMMARIZE (TABLE t)
-->
SUMMARIZE (TABLE t)

SUMMARIZE ((SELECT summarize((SELECT 1))))
-->
SUMMARIZE ((SELECT "summarize"((SELECT 1))))

SELECT * FROM (SUMMARIZE ((FROM t))), t WHERE summarize((x)) = summarize(((SELECT 1)))
-->
SELECT * FROM (SUMMARIZE ((FROM t))), t WHERE "summarize"((x)) = "summarize"(((SELECT 1)))

CREATE MACRO m(x) AS summarize((SELECT x))
-->
CREATE MACRO m(x) AS "summarize"((SELECT x))

CREATE TABLE s AS SUMMARIZE ((SELECT 1))
-->
CREATE TABLE s AS SUMMARIZE ((SELECT 1))
