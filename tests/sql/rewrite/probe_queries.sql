-- A statement, then the SELECT statements that a probe runs for it.
SELECT f(x) FROM t
-->
SELECT f(x) FROM t

CREATE OR REPLACE TEMP TABLE t AS WITH q AS (SELECT 1) FROM q
-->
WITH q AS (SELECT 1) FROM q

CREATE TABLE t AS SELECT f(x) FROM r WITH NO DATA
-->

CREATE VIEW v AS SELECT f(x) FROM r
-->

INSERT INTO t BY NAME SELECT f(x), nextval('s') FROM r ON CONFLICT DO NOTHING
-->
SELECT f(x), (0) FROM r

INSERT INTO t (a) VALUES (f('x')) RETURNING a
-->
VALUES (f('x'))

INSERT INTO t DEFAULT VALUES
-->

WITH c AS (SELECT 1) INSERT INTO t SELECT f(x) FROM c
-->
WITH c AS (SELECT 1) SELECT f(x) FROM c

COPY (SELECT f(x) FROM t) TO 'x.csv' (HEADER)
-->
SELECT f(x) FROM t

COPY main.v TO ? (HEADER)
-->
SELECT * FROM main.v

COPY v (a, "b c") TO 'x.csv'
-->
SELECT a, "b c" FROM v

COPY t FROM 'x.csv'
-->

UPDATE t AS u SET a = f(u.b), c = $p1 FROM s WHERE u.i = s.i AND g(u.c)
-->
SELECT f(u.b), $p1 FROM t AS u CROSS JOIN s WHERE u.i = s.i AND g(u.c)

DELETE FROM t USING s WHERE t.i = s.i AND f(t.x)
-->
SELECT 1 FROM t CROSS JOIN s WHERE t.i = s.i AND f(t.x)

MERGE INTO t USING s ON t.i = s.i WHEN MATCHED AND f(s.x) THEN UPDATE SET x = g(s.x) WHEN NOT MATCHED THEN INSERT (i, x) VALUES (s.i, f(s.y)) WHEN NOT MATCHED BY SOURCE THEN DELETE
-->
SELECT f(s.x), g(s.x) FROM t INNER JOIN s ON t.i = s.i
SELECT s.i, f(s.y) FROM s ANTI JOIN t ON t.i = s.i
SELECT 1 FROM t ANTI JOIN s ON t.i = s.i

WITH x AS (INSERT INTO t SELECT 1 RETURNING i) SELECT f(i) FROM x
-->

EXPLAIN SELECT f(x) FROM t
-->

SET VARIABLE x = f('a')
-->
