-- Under output_action = append_row; `there` is a table that exists.
CREATE TABLE there AS SELECT f(x) FROM r
-->
INSERT INTO there SELECT f(x) FROM r

CREATE TABLE other AS SELECT f(x) FROM r
-->
CREATE TABLE other AS SELECT f(x) FROM r

CREATE TEMP TABLE main."there é" AS /* AS */ WITH q AS (SELECT f(x) AS y FROM r) FROM q
-->
INSERT INTO main."there é" /* AS */ WITH q AS (SELECT f(x) AS y FROM r) FROM q

CREATE OR REPLACE TABLE there AS SELECT f(x) FROM r
-->
CREATE OR REPLACE TABLE there AS SELECT f(x) FROM r

CREATE TABLE IF NOT EXISTS there AS SELECT f(x) FROM r
-->
CREATE TABLE IF NOT EXISTS there AS SELECT f(x) FROM r

INSERT INTO there SELECT f('CREATE TABLE there AS') FROM r
-->
INSERT INTO there SELECT f('CREATE TABLE there AS') FROM r

COPY (SELECT f(x) FROM t) TO 'no such file.csv'
-->
COPY (SELECT f(x) FROM t) TO 'no such file.csv'

UPDATE there SET a = f(b)
-->
UPDATE there SET a = f(b)

CREATE VIEW there AS SELECT f(x) FROM r
-->
CREATE VIEW there AS SELECT f(x) FROM r

SELECT f(x) FROM there
-->
SELECT f(x) FROM there
