-- A text, then its statements, a line each.
SELECT ';'; SELECT $$;$$ /* ; */; -- ;
-->
SELECT ';'
SELECT $$;$$ /* ; */

;; CREATE MACRO m(x) AS (x); FROM "é;" ;
-->
CREATE MACRO m(x) AS (x)
FROM "é;"

INSERT INTO t VALUES ('ü;', [1, 2]); UPDATE t SET a = ';' WHERE b = 1
-->
INSERT INTO t VALUES ('ü;', [1, 2])
UPDATE t SET a = ';' WHERE b = 1

SELECT (1; 2)
-->
SELECT (1; 2)

SELECT 'no end; SELECT 2
-->
SELECT 'no end; SELECT 2
