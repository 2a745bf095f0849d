-- The file of a COPY whose name is an expression gets the value of that, if no parameter is part of it.
COPY (SELECT f(x) FROM t) TO (getvariable('file')) (HEADER)
-->
COPY (SELECT f(x) FROM t) TO 'it''s.csv' (HEADER)

COPY (SELECT f(x) FROM t) TO ( getvariable('none') )
-->
COPY (SELECT f(x) FROM t) TO ( getvariable('none') )

COPY (SELECT f(x) FROM t) TO (getvariable('file') || ?)
-->
COPY (SELECT f(x) FROM t) TO (getvariable('file') || ?)

COPY (SELECT f(x) FROM t) TO 'a.csv'
-->
COPY (SELECT f(x) FROM t) TO 'a.csv'

COPY t FROM (getvariable('file'))
-->
COPY t FROM (getvariable('file'))

SELECT f(x) AS "to" FROM t
-->
SELECT f(x) AS "to" FROM t
