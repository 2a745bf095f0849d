-- Constants that no row can be computed with are refused; the statement stays.
SELECT ai_gen(x, temperature := -1) FROM t
-->
Error: ai_gen: temperature must be a number from 0 to 100, not -1

SELECT ai_gen(x, temperature := y), ai_gen(x, max_tokens := 5) FROM t
-->
SELECT ai_gen(x, temperature := y), ai_gen(x, max_tokens := 5) FROM t

INSERT INTO t SELECT ai_gen(x, max_tokens := 0) FROM r
-->
Error: ai_gen: max_tokens must be a whole number of at least 1, not 0

COPY (SELECT ai_gen(x, on_error := 'skip') FROM t) TO 'x.csv'
-->
Error: ai_gen: on_error must be 'fail' or 'null', not 'skip'

WITH q AS (SELECT ai_gen(ai_gen(x, top_p := 2), top_p := 0.5) AS y FROM t) FROM q
-->
Error: ai_gen: top_p must be a number above 0 and at most 1, not 2

SELECT ai_classify(x, []) FROM t
-->
Error: ai_classify: labels is an empty list; name at least one label

SELECT ai_classify(x, ['é', 'é']) FROM t
-->
Error: ai_classify: the label 'é' is given twice; name each label once

SELECT ai_gen(x, stop := ['a', 3]) FROM t
-->
SELECT ai_gen(x, stop := ['a', 3]) FROM t

SELECT ai_gen(x, seed := 1 /* seed := -1 */), 'ai_gen(x, seed := -1)' FROM t -- ai_gen(x, seed := -1)
-->
SELECT ai_gen(x, seed := 1 /* seed := -1 */), 'ai_gen(x, seed := -1)' FROM t -- ai_gen(x, seed := -1)

SELECT ai_summarize(x, max_words => 'many') FROM t
-->
Error: summarize: max_words must be a whole number, not 'many'
