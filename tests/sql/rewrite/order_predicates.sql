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
SELECT * FROM t WHERE left(s, 2) = 'a)' AND CASE WHEN left(s, 2) = 'a)' THEN CASE WHEN f(x) THEN NOT g(y) END END -- and so on

SELECT * FROM t WHERE f(x) OR i = 0
-->
SELECT * FROM t WHERE f(x) OR i = 0

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
