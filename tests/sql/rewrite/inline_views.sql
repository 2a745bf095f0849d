-- The view `branching` has branches, and `plain`, which reads from it, has none.
SELECT * FROM branching
-->
WITH branching AS (SELECT coalesce(f(x), g(x)) AS c FROM t), plain(d) AS (SELECT c FROM branching) SELECT * FROM branching

WITH RECURSIVE q AS (FROM plain) SELECT * FROM q
-->
WITH RECURSIVE branching AS (SELECT coalesce(f(x), g(x)) AS c FROM t), plain(d) AS (SELECT c FROM branching), q AS (FROM plain) SELECT * FROM q

FROM plain SELECT d -- branching
-->
WITH branching AS (SELECT coalesce(f(x), g(x)) AS c FROM t), plain(d) AS (SELECT c FROM branching) FROM plain SELECT d -- branching

SELECT * FROM main.branching
-->
SELECT * FROM main.branching

WITH q AS (SELECT 1) (FROM plain)
-->
WITH branching AS (SELECT coalesce(f(x), g(x)) AS c FROM t), plain(d) AS (SELECT c FROM branching), q AS (SELECT 1) (FROM plain)
