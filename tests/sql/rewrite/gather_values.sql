-- The AI calls of the rows of INSERT .. VALUES become one call, where the other cells are literals of one kind.
INSERT OR REPLACE INTO t (i, s, a) VALUES (1, NULL, ai_gen('a')), (-2, 'it''s', ai_gen('é')) RETURNING a;
-->
INSERT OR REPLACE INTO t (i, s, a) SELECT __sqlinfer_c0, __sqlinfer_c1, ai_gen(__sqlinfer_c2) FROM (VALUES (1, NULL, 'a'), (-2, 'it''s', 'é')) v(__sqlinfer_c0, __sqlinfer_c1, __sqlinfer_c2) RETURNING a;

INSERT INTO t VALUES (ai_classify(ai_gen('a'), ['x, y', 'z'])), (ai_classify(ai_gen('b'), ['x, y', 'z']))
-->
INSERT INTO t SELECT ai_classify(ai_gen(__sqlinfer_c0), ['x, y', 'z']) FROM (VALUES ('a'), ('b')) v(__sqlinfer_c0)

INSERT INTO t VALUES (1, ai_gen('a')), ('b', ai_gen('b'))
-->
INSERT INTO t VALUES (1, ai_gen('a')), ('b', ai_gen('b'))

INSERT INTO t VALUES (1, ai_gen('a')), (2.5, ai_gen('b'))
-->
INSERT INTO t VALUES (1, ai_gen('a')), (2.5, ai_gen('b'))

INSERT INTO t VALUES (DEFAULT, ai_gen('a')), (DEFAULT, ai_gen('b'))
-->
INSERT INTO t VALUES (DEFAULT, ai_gen('a')), (DEFAULT, ai_gen('b'))

INSERT INTO t VALUES (ai_gen('a', model := 'x')), (ai_gen('b', model := 'y'))
-->
INSERT INTO t VALUES (ai_gen('a', model := 'x')), (ai_gen('b', model := 'y'))

INSERT INTO t VALUES (ai_query('m', 'a')), (ai_query('n', 'a'))
-->
INSERT INTO t VALUES (ai_query('m', 'a')), (ai_query('n', 'a'))

INSERT INTO t VALUES (max(ai_gen('a'))), (max(ai_gen('b')))
-->
INSERT INTO t VALUES (max(ai_gen('a'))), (max(ai_gen('b')))

INSERT INTO t VALUES (ai_gen('a', max_tokens := unnest([1, 2]))), (ai_gen('b', max_tokens := unnest([1, 2])))
-->
INSERT INTO t VALUES (ai_gen('a', max_tokens := unnest([1, 2]))), (ai_gen('b', max_tokens := unnest([1, 2])))

INSERT INTO t VALUES (ai_gen('a')) ON CONFLICT DO NOTHING
-->
INSERT INTO t VALUES (ai_gen('a')) ON CONFLICT DO NOTHING

INSERT INTO t VALUES (ai_gen('a')), (ai_gen('b')) ON CONFLICT DO NOTHING
-->
INSERT INTO t VALUES (ai_gen('a')), (ai_gen('b')) ON CONFLICT DO NOTHING
