-- f and g are AI functions. A query, then what a probe runs as long as answers are missing.
SELECT CASE WHEN f(x) > 0.5 THEN 'y' ELSE g(x) END FROM t
-->
SELECT CASE WHEN f(x) IS NULL THEN NULL WHEN f(x) > 0.5 THEN 'y' ELSE g(x) END FROM t

SELECT CASE f(x) WHEN 'a' THEN g(x) WHEN 'b' THEN 1 END FROM t
-->
SELECT CASE WHEN f(x) IS NULL THEN NULL ELSE CASE f(x) WHEN 'a' THEN g(x) WHEN 'b' THEN 1 END END FROM t

SELECT CASE WHEN i > 3 AND f(x) OR j THEN 'y' WHEN g(y) THEN 'z' ELSE g(x) END FROM t
-->
SELECT CASE WHEN CASE WHEN i > 3 THEN f(x) IS NULL ELSE false END THEN NULL WHEN i > 3 AND f(x) OR j THEN 'y' WHEN g(y) IS NULL THEN NULL WHEN g(y) THEN 'z' ELSE g(x) END FROM t

SELECT coalesce(nullif(f(x), 'none'), y, g(y), g(z)) FROM t
-->
SELECT CASE WHEN f(x) IS NULL THEN NULL ELSE coalesce(nullif(f(x), 'none'), y, CASE WHEN g(y) IS NULL THEN NULL ELSE coalesce(g(y), g(z)) END) END FROM t

SELECT ifnull(f(x), g(x)), if(f(x) = 'a', 1, g(y)), coalesce(f(x), 'none') FROM t
-->
SELECT CASE WHEN f(x) IS NULL THEN NULL ELSE coalesce(f(x), g(x)) END, CASE WHEN f(x) IS NULL THEN NULL ELSE if(f(x) = 'a', 1, g(y)) END, coalesce(f(x), 'none') FROM t

SELECT CASE WHEN f(x) THEN g(x) END, CASE WHEN f(x) IS NOT NULL THEN g(x) END, CASE WHEN i THEN f(x) ELSE g(x) END FROM t
-->
SELECT CASE WHEN f(x) THEN g(x) END, CASE WHEN f(x) IS NULL THEN NULL WHEN f(x) IS NOT NULL THEN g(x) END, CASE WHEN i THEN f(x) ELSE g(x) END FROM t

SELECT CASE WHEN CASE WHEN f(x) THEN 1 ELSE g(x) END = 1 THEN 'y' ELSE g(y) END FROM t
-->
SELECT CASE WHEN CASE WHEN f(x) IS NULL THEN NULL WHEN f(x) THEN 1 ELSE g(x) END IS NULL THEN NULL WHEN CASE WHEN f(x) IS NULL THEN NULL WHEN f(x) THEN 1 ELSE g(x) END = 1 THEN 'y' ELSE g(y) END FROM t

SELECT CASE WHEN s > 0.5 THEN 'y' ELSE g(x) END FROM (SELECT *, f(x) AS s FROM t)
-->
SELECT CASE WHEN s IS NULL THEN NULL WHEN s > 0.5 THEN 'y' ELSE g(x) END FROM (SELECT *, f(x) AS s FROM t)

SELECT CASE WHEN max(f(x)) > 3 THEN 'y' ELSE g(y) END FROM t GROUP BY y
-->
SELECT CASE WHEN bool_or(f(x) IS NULL) THEN NULL WHEN max(f(x)) > 3 THEN 'y' ELSE g(y) END FROM t GROUP BY y

SELECT CASE WHEN rank() OVER (PARTITION BY y ORDER BY f(x)) < 3 THEN 'y' ELSE g(y) END FROM t
-->
SELECT CASE WHEN bool_or(f(x) IS NULL) OVER () THEN NULL WHEN rank() OVER (PARTITION BY y ORDER BY f(x)) < 3 THEN 'y' ELSE g(y) END FROM t

SELECT CASE WHEN (SELECT max(f(u.x)) FROM u) > 1 THEN 'y' ELSE g(y) END, CASE WHEN list_bool_or([f(a) for a in x]) THEN 'z' ELSE g(y) END FROM t
-->
SELECT CASE WHEN ((SELECT max(f(u.x)) FROM u) > 1) IS NULL THEN NULL WHEN (SELECT max(f(u.x)) FROM u) > 1 THEN 'y' ELSE g(y) END, CASE WHEN (list_bool_or([f(a) for a in x])) IS NULL THEN NULL WHEN list_bool_or([f(a) for a in x]) THEN 'z' ELSE g(y) END FROM t

SELECT * FROM t WHERE CASE WHEN f(x) THEN true ELSE t.y.g() END
-->
SELECT * FROM t WHERE CASE WHEN f(x) IS NULL THEN NULL WHEN f(x) THEN true ELSE t.y.g() END

SELECT CASE WHEN t.x.f() THEN 1 /* ELSE f(x) */ ELSE f(g(x)) END FROM t
-->
SELECT CASE WHEN t.x.f() IS NULL THEN NULL WHEN t.x.f() THEN 1 /* ELSE f(x) */ ELSE f(g(x)) END FROM t

SELECT f(x), CASE WHEN i > 1 THEN 1 END, coalesce(f(x), y) FROM t
-->
SELECT f(x), CASE WHEN i > 1 THEN 1 END, coalesce(f(x), y) FROM t

SELECT f(x, concat(g(y))), f(g(x) || 'a'), main.f(a := x, b := lower(g(y) || f(z))) FROM t
-->
SELECT CASE WHEN g(y) IS NULL THEN NULL ELSE f(x, concat(g(y))) END, f(g(x) || 'a'), CASE WHEN g(y) IS NULL OR f(z) IS NULL THEN NULL ELSE main.f(a := x, b := lower(g(y) || f(z))) END FROM t

SELECT f(list(g(x) ORDER BY y) FILTER (WHERE z > 1), 'why?') FROM t
-->
SELECT CASE WHEN bool_or(g(x) IS NULL) FILTER (WHERE z > 1) THEN NULL ELSE f(list(g(x) ORDER BY y) FILTER (WHERE z > 1), 'why?') END FROM t
