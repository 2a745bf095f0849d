-- f and g are AI functions. A statement, then what the guard makes of it.
SELECT * FROM t WHERE f(x) AND i BETWEEN 1 AND 3 GROUP BY y HAVING f(string_agg(x)) AND count(*) > 1
--> 
SELECT * FROM t WHERE i BETWEEN 1 AND 3 AND CASE WHEN i BETWEEN 1 AND 3 THEN f(x) END GROUP BY y HAVING count(*) > 1 AND CASE WHEN count(*) > 1 THEN f(string_agg(x)) END

SELECT * FROM a JOIN b ON f(a.x, b.y) AND a.i = b.i LEFT JOIN c ON c.i = a.i
-->
SELECT * FROM a JOIN b ON a.i = b.i AND CASE WHEN a.i = b.i THEN f(a.x, b.y) END LEFT JOIN c ON c.i = a.i

SELECT * FROM t WHERE CASE WHEN x THEN f(y) ELSE false END AND i IS DISTINCT FROM 3
-->
SELECT * FROM t WHERE i IS DISTINCT FROM 3 AND CASE WHEN i IS DISTINCT FROM 3 THEN CASE WHEN x THEN f(y) ELSE false END END

SELECT f(x) FILTER (WHERE n AND f(y)) FROM t
-->
SELECT f(x) FILTER (WHERE n AND CASE WHEN n THEN f(y) END) FROM t

FROM t WHERE i % 2 = 0 AND f(x) SELECT y
-->
FROM t WHERE i % 2 = 0 AND CASE WHEN i % 2 = 0 THEN f(x) END SELECT y

SELECT * FROM t WHERE f(x) AND /* why */ left(s, 2) = 'a)' AND NOT g(y) -- and so on
-->
SELECT * FROM t WHERE CASE WHEN left(s, 2) = 'a)' THEN CASE WHEN f(x) THEN NOT g(y) END END -- and so on

SELECT * FROM t WHERE f(x) OR i = 0
-->
SELECT * FROM t WHERE CASE WHEN i = 0 THEN true ELSE f(x) END

SELECT * FROM t WHERE (f(x) AND (i = 0 AND g(y)))
-->
SELECT * FROM t WHERE i = 0 AND CASE WHEN i = 0 THEN CASE WHEN f(x) THEN g(y) END END

SELECT * FROM t WHERE NOT (f(x) OR i > 0 OR NOT g(y))
-->
SELECT * FROM t WHERE NOT i > 0 AND CASE WHEN NOT i > 0 THEN CASE WHEN NOT f(x) THEN g(y) END END

SELECT * FROM t WHERE i > 0 AND (f(x) OR (g(y) AND j BETWEEN 1 AND 2))
-->
SELECT * FROM t WHERE i > 0 AND CASE WHEN i > 0 THEN CASE WHEN f(x) THEN true ELSE CASE WHEN j BETWEEN 1 AND 2 THEN g(y) END END END

SELECT * FROM t WHERE (i, j) = (1, 2) AND (f(x)) AND (SELECT true)
-->
SELECT * FROM t WHERE (i, j) = (1, 2) AND CASE WHEN (i, j) = (1, 2) AND (SELECT true) THEN f(x) END

SELECT * FROM t WHERE regexp_matches(s, 'a') AND f(x) AND u LIKE '%b'
-->
SELECT * FROM t WHERE CASE WHEN regexp_matches(s, 'a') AND u LIKE '%b' THEN f(x) END

SELECT * FROM a, b WHERE lower(a.i) = lower(b.i) AND f(a.x)
-->
SELECT * FROM a, b WHERE lower(a.i) = lower(b.i) AND CASE WHEN lower(a.i) = lower(b.i) THEN f(a.x) END

SELECT * FROM (SELECT *, f(x) AS h FROM t) WHERE h AND i < 3
-->
SELECT * FROM (SELECT *, f(x) AS h FROM t) WHERE i < 3 AND CASE WHEN i < 3 THEN h END

SELECT f(x) AS x, g AS f FROM t WHERE x < 3 AND f > 1 AND f(y)
-->
SELECT f(x) AS x, g AS f FROM t WHERE x < 3 AND f > 1 AND CASE WHEN x < 3 AND f > 1 THEN f(y) END

SELECT * FROM t WHERE i IN (1, 2) AND i IN (FROM u) AND f(x)
-->
SELECT * FROM t WHERE i IN (1, 2) AND CASE WHEN i IN (1, 2) AND i IN (FROM u) THEN f(x) END

SELECT DISTINCT ON (a) f(x) AND y AS c FROM t
-->
SELECT DISTINCT ON (a) f(x) AND y AS c FROM t

SELECT * FROM t WHERE f(x) AND st.end > sample USING SAMPLE 10 ROWS
-->
SELECT * FROM t WHERE st.end > sample AND CASE WHEN st.end > sample THEN f(x) END USING SAMPLE 10 ROWS

SELECT * FROM a JOIN b ON a.i = b.i UNION ALL SELECT 1 WHERE f(x)
-->
SELECT * FROM a JOIN b ON a.i = b.i UNION ALL SELECT 1 WHERE f(x)

SELECT * FROM a JOIN b ON a.i = b.i JOIN c ON c.i = a.i WHERE f(a.x)
-->
SELECT * FROM a JOIN b ON a.i = b.i JOIN c ON c.i = a.i WHERE CASE WHEN (a.i = b.i) AND (c.i = a.i) THEN f(a.x) END

SELECT * FROM t WHERE f(x)
-->
SELECT * FROM t WHERE f(x)

SELECT * FROM a JOIN b ON a.i = b.i LEFT JOIN c ON c.i = a.i WHERE f(a.x)
-->
SELECT * FROM a JOIN b ON a.i = b.i LEFT JOIN c ON c.i = a.i WHERE f(a.x)

SELECT * FROM a RIGHT JOIN b ON a.i = b.i WHERE f(a.x)
-->
SELECT * FROM a RIGHT JOIN b ON a.i = b.i WHERE f(a.x)

UPDATE t SET a = 1 WHERE f(x) AND i = 0 RETURNING *
-->
UPDATE t SET a = 1 WHERE i = 0 AND CASE WHEN i = 0 THEN f(x) END RETURNING *
