-- COPY writes beside its file and renames it at the end.
COPY (SELECT f(x) FROM t) TO 'é.csv'
-->
COPY (SELECT f(x) FROM t) TO 'é.csv' (USE_TMP_FILE true)

COPY (SELECT f(x) FROM t) TO 'x.csv' WITH (HEADER false)
-->
COPY (SELECT f(x) FROM t) TO 'x.csv' WITH (USE_TMP_FILE true, HEADER false)

copy (WITH q AS (SELECT ')' AS a) SELECT f(a) FROM q) to 'it''s.csv' (FORMAT csv) -- TO 'y.csv'
-->
copy (WITH q AS (SELECT ')' AS a) SELECT f(a) FROM q) to 'it''s.csv' (USE_TMP_FILE true, FORMAT csv) -- TO 'y.csv'

COPY (SELECT f(x) FROM t) TO 'x' (FORMAT parquet, PARTITION_BY y)
-->
COPY (SELECT f(x) FROM t) TO 'x' (FORMAT parquet, PARTITION_BY y)

COPY (SELECT f(x) FROM t) TO 'x.csv' (USE_TMP_FILE false)
-->
COPY (SELECT f(x) FROM t) TO 'x.csv' (USE_TMP_FILE false)

COPY (SELECT f(x) FROM t) TO '/dev/null'
-->
COPY (SELECT f(x) FROM t) TO '/dev/null'

COPY (SELECT f(x) FROM t) TO 's3://bucket/x.csv'
-->
COPY (SELECT f(x) FROM t) TO 's3://bucket/x.csv'

COPY (SELECT f(x) FROM t) TO $p1
-->
COPY (SELECT f(x) FROM t) TO $p1

COPY main.v (a, b) TO $$x.csv$$
-->
COPY main.v (a, b) TO $$x.csv$$ (USE_TMP_FILE true)

COPY (SELECT f(?)) TO ? (HEADER)
-->
COPY (SELECT f(?)) TO ? (USE_TMP_FILE true, HEADER)

COPY (SELECT f(x) FROM t) TO ('x' || '.csv')
-->
COPY (SELECT f(x) FROM t) TO ('x' || '.csv') (USE_TMP_FILE true)

COPY (SELECT f(x) FROM t) TO "x.csv";
-->
COPY (SELECT f(x) FROM t) TO "x.csv" (USE_TMP_FILE true);

COPY v TO STDOUT
-->
COPY v TO STDOUT

COPY v TO '/dev/stdout'
-->
COPY v TO '/dev/stdout'

COPY t FROM 'x.csv'
-->
COPY t FROM 'x.csv'

SELECT 'COPY (SELECT f(x)) TO ''x.csv''' FROM t
-->
SELECT 'COPY (SELECT f(x)) TO ''x.csv''' FROM t
