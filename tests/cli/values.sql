-- Values of every type; the last statements have rows and are no queries.
SELECT NULL::INT AS a, '' AS b, 'NULL' AS c;
SELECT 1 AS x, 2 AS x, 3 AS "a,b", 4 AS "c""d";
SELECT true AS b, 170141183460469231731687303715884105727::HUGEINT AS h, 1.50::DECIMAL(10,2) AS d, 1e20::DOUBLE AS f,
  18446744073709551615::UBIGINT AS u, -9223372036854775808 AS i, 123456789012345678901234567890::BIGNUM AS bn;
SELECT 'nan'::DOUBLE AS n, '-inf'::FLOAT AS i, 0.1::FLOAT AS fl, 0.1::DOUBLE AS dbl, -0.0::DOUBLE AS z, 1e-7 AS small;
SELECT DATE '2020-01-01' AS d, TIME '10:00:00.5' AS t, TIMESTAMP '2020-01-01 10:00:00' AS ts, '10:00:00+02'::TIMETZ AS tz,
  INTERVAL '1 month 2 days 3 seconds' AS iv, TIMESTAMP_NS '2020-01-01 10:00:00.123456789' AS ns, DATE 'infinity' AS di;
SELECT 'a"b,c' AS s, E'x\ny\r\t' AS control, ' a ' AS space, 'a''b' AS q, '\' AS back, chr(1) AS c, 'é😀' AS u, '/' AS o;
SELECT '\xAA\x00'::BLOB AS b, '0101'::BIT AS bit, '00000000-0000-0000-0000-000000000001'::UUID AS u, 'x'::ENUM('x') AS e;
SELECT [1, NULL] AS l, {'a': 1, 'b': 'x"y'} AS st, MAP {'k': 1.50::DECIMAL(4,2)} AS m, [['a,b'], ['it''s']] AS ll,
  [DATE '2020-01-01'] AS ld, union_value(num := 2) AS un, [1, 2]::INT[2] AS arr, [{'a': NULL, 'b': [true]}] AS ls;
SELECT '{"a":  1}'::JSON AS j, '"x"'::JSON AS js, 'null'::JSON AS jn, NULL::JSON AS n, '{"a": 1}' AS text;
SELECT i, i % 3 AS m FROM range(5) t(i) ORDER BY m DESC, i;
CREATE TABLE t (h HUGEINT, d DECIMAL(5, 2)); INSERT INTO t VALUES (1, 2.50) RETURNING *; DESCRIBE t;
