-- A text, then the text with reserved names of functions quoted.
SELECT summarize(x), Summarize (y), "summarize"(z), t.summarize(), main.summarize(x)
-->
SELECT "summarize"(x), "summarize" (y), "summarize"(z), t.summarize(), main.summarize(x)

SUMMARIZE t
-->
SUMMARIZE t

SELECT 'summarize(x)', $$summarize(x)$$ -- summarize(x)
-->
SELECT 'summarize(x)', $$summarize(x)$$ -- summarize(x)

FROM (SUMMARIZE (SELECT 1)) 
-->
FROM (SUMMARIZE (SELECT 1))
