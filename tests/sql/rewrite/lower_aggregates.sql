-- f is an AI aggregate: what its call says besides its arguments goes to list().
SELECT g, f(x) FROM t GROUP BY g
-->
SELECT g, f(x) FROM t GROUP BY g

SELECT f(DISTINCT x) FROM t
-->
SELECT f_list(list(DISTINCT x ORDER BY x)) FROM t

SELECT F(x || ',', 'why, and how?', max_tokens := 3 ORDER BY y DESC, z NULLS LAST) FROM t
-->
SELECT f_list(list(x || ',' ORDER BY y DESC, z NULLS LAST), 'why, and how?', max_tokens := 3) FROM t

SELECT f(x, 'q') FILTER (WHERE y > (SELECT max(z) FROM u)) AS a FROM t
-->
SELECT f_list(list(x ORDER BY x) FILTER (WHERE y > (SELECT max(z) FROM u)), 'q') AS a FROM t

SELECT f(x ORDER BY y) FILTER (y > 0) OVER (PARTITION BY g ORDER BY z) FROM t
-->
SELECT f_list(list(x ORDER BY y) FILTER (y > 0) OVER (PARTITION BY g ORDER BY z)) FROM t

SELECT f(x) OVER w, f(x) OVER (w) FROM t WINDOW w AS (PARTITION BY g)
-->
SELECT f_list(list_sort(list(x) OVER w)), f_list(list_sort(list(x) OVER (w))) FROM t WINDOW w AS (PARTITION BY g)

SELECT f(x) OVER w, f(x) OVER (w ROWS 1 PRECEDING) FROM t WINDOW v AS (), w AS (ORDER BY g)
-->
SELECT f_list(list(x) OVER w), f_list(list(x) OVER (w ROWS 1 PRECEDING)) FROM t WINDOW v AS (), w AS (ORDER BY g)

SELECT f(DISTINCT f(DISTINCT x) || 'y') FROM t
-->
SELECT f_list(list(DISTINCT f_list(list(DISTINCT x ORDER BY x)) || 'y' ORDER BY f_list(list(DISTINCT x ORDER BY x)) || 'y')) FROM t

SELECT f, t.f(x ORDER BY y), count(x) FILTER (y), '"f(DISTINCT x)"' FROM f ORDER BY f
-->
SELECT f, t.f(x ORDER BY y), count(x) FILTER (y), '"f(DISTINCT x)"' FROM f ORDER BY f

SELECT f(list_transform(x, lambda y: (y, 1)) ORDER BY (a, b)) FROM t
-->
SELECT f_list(list(list_transform(x, lambda y: (y, 1)) ORDER BY (a, b))) FROM t

SELECT f(DISTINCT x
-->
SELECT f(DISTINCT x
