-- Parameters by position become named ones.
SELECT f(?) FROM t WHERE i > ?
-->
SELECT f($p1) FROM t WHERE i > $p2

SELECT '?', ?, $2, ?1 -- ?
-->
SELECT '?', $p1, $p2, $p1 -- ?

SELECT "é?", f('ü ?', ?) /* ? */ FROM t WHERE g(?)
-->
SELECT "é?", f('ü ?', $p1) /* ? */ FROM t WHERE g($p2)

WITH q AS (SELECT ? AS a) INSERT INTO t SELECT f(a || ?) FROM q
-->
WITH q AS (SELECT $p1 AS a) INSERT INTO t SELECT f(a || $p2) FROM q

UPDATE t SET a = f(?) WHERE i = ?
-->
UPDATE t SET a = f($p1) WHERE i = $p2

SELECT $name, f($1), $$ ? $$ FROM t
-->
SELECT $name, f($p1), $$ ? $$ FROM t

SELECT f(x) FROM t
-->
SELECT f(x) FROM t
