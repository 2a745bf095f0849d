-- The AI conditions over two tables.
SELECT * FROM a JOIN b ON ai_if(a.x || b.y, 'same?')
-->
ai_if(a.x || b.y, 'same?')

SELECT * FROM a JOIN b ON a.i = b.i WHERE ai_if(a.x, 'good?')
-->

SELECT * FROM a JOIN b ON ai_if(x, 'same as ' || y) AND i = 1
-->
ai_if(x, 'same as ' || y)

SELECT * FROM a, b WHERE ai_if({'é': a.x, 'ü': b.y}, 'a.x = b.y?') AND ai_gen(a.x || b.y) = ''
-->
ai_if({'é': a.x, 'ü': b.y}, 'a.x = b.y?')

WITH q AS (SELECT * FROM a WHERE ai_if(x, 'b.y')) SELECT * FROM q JOIN b ON q.i = b.i /* ai_if(a.x || b.y) */
-->

UPDATE t SET a = 1 FROM s WHERE ai_if(t.x || s.x, 'same?')
-->
ai_if(t.x || s.x, 'same?')

DELETE FROM t USING s WHERE ai_if(t.x, s.x)
-->
ai_if(t.x, s.x)

MERGE INTO t USING s ON t.i = s.i WHEN MATCHED AND ai_if(t.x || s.x, 'same?') THEN DELETE
-->
ai_if(t.x || s.x, 'same?')

SELECT ai_if(st.a.x || st.b.y, 'same?') FROM t
-->
