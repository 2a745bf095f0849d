-- UPDATE, DELETE and MERGE as SELECTs; nothing for other statements.
UPDATE t SET a = f(b), c = 'é' WHERE g(c) AND i IN (SELECT i FROM s)
-->
SELECT f(b), 'é' FROM t WHERE g(c) AND i IN (SELECT i FROM s)

WITH q AS (SELECT 1 AS i) UPDATE t SET a = f(q.i) FROM q JOIN r ON r.i = q.i WHERE t.i = q.i
-->
WITH q AS (SELECT 1 AS i) SELECT f(q.i) FROM t CROSS JOIN q JOIN r ON r.i = q.i WHERE t.i = q.i

DELETE FROM t USING s, r WHERE t.i = s.i AND f(t.x, r.y)
-->
SELECT 1 FROM t CROSS JOIN s, r WHERE t.i = s.i AND f(t.x, r.y)

DELETE FROM t
-->
SELECT 1 FROM t

MERGE INTO t USING s ON t.i = s.i WHEN MATCHED AND f(s.x) THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.i, g(s.y))
-->
SELECT f(s.x), 1 FROM t INNER JOIN s ON t.i = s.i
SELECT s.i, g(s.y) FROM s ANTI JOIN t ON t.i = s.i

MERGE INTO t USING s USING (i) WHEN MATCHED THEN UPDATE SET x = f(s.x /* why */)
-->
SELECT f(s.x /* why */) FROM t INNER JOIN s USING (i)

INSERT INTO t SELECT f(x) FROM r
-->

UPDATE t SET a = = f(b)
-->
