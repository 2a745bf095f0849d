"""Shapes of SQL with calls in them, and what each must ask."""

from __future__ import annotations

from dataclasses import dataclass, field

SETUP = """
CREATE TABLE tickets AS
  SELECT i AS id, CASE i % 3 WHEN 0 THEN 'angry ' ELSE 'calm ' END || (i % 6) AS body, 'team' || (i % 2) AS team
  FROM range(12) r(i);
CREATE TABLE teams AS SELECT * FROM (VALUES ('team0', 'red'), ('team1', 'blue')) v(team, colour);
CREATE TABLE target AS SELECT id, body AS text FROM tickets WHERE id < 4;
ALTER TABLE target ADD PRIMARY KEY (id);
CREATE VIEW gists AS SELECT id, team, summarize(body) AS gist FROM tickets;
CREATE VIEW replies AS SELECT id, CASE ai_gen(body) WHEN '<calm 1>' THEN 'y' ELSE ai_gen('0 ' || body) END AS r
  FROM tickets;
CREATE MACRO gist_of(x) AS ai_gen(concat('gist: ', x));
"""
BODIES = {"angry 0", "calm 1", "calm 2", "angry 3", "calm 4", "calm 5"}
ANGRY = {"angry 0", "angry 3"}
TICKETS = [(f"{'angry' if i % 3 == 0 else 'calm'} {i % 6}", i) for i in range(12)]
CALM = BODIES - ANGRY


@dataclass
class Shape:
    """A statement, the texts that it must ask and no others, and the query that shows what it did."""

    sql: str
    asks: set[str]
    shows: str = ""
    parameters: object = None
    setup: str = ""
    keeps: set[str] = field(default_factory=set)


SHAPES = {
    "projection": Shape("SELECT id, ai_gen(body) FROM tickets", BODIES),
    "nested calls": Shape(
        "SELECT id, ai_gen('2: ' || ai_gen(body)) FROM tickets", BODIES | {f"2: <{b}>" for b in BODIES}
    ),
    "filter and projection": Shape(
        "SELECT id, summarize(team) FROM tickets WHERE is_angry(body)", BODIES | {"team0", "team1"}
    ),
    "filter decides what is asked": Shape(
        "SELECT id, summarize(body || '!') FROM tickets WHERE is_angry(body)", BODIES | {b + "!" for b in ANGRY}
    ),
    "negated filter": Shape(
        "SELECT id, ai_gen(body || '!') FROM tickets WHERE NOT is_angry(body)", BODIES | {b + "!" for b in CALM}
    ),
    "case with an AI condition": Shape(
        "SELECT id, CASE WHEN is_angry(body) THEN ai_gen('sorry ' || body) ELSE ai_gen('thanks ' || body) END "
        "FROM tickets",
        BODIES | {f"sorry {b}" for b in ANGRY} | {f"thanks {b}" for b in CALM},
    ),
    "else waits for its condition": Shape(
        "SELECT id, CASE WHEN ai_gen(body) = '<calm 1>' THEN 'y' ELSE ai_gen(body || '!') END FROM tickets",
        BODIES | {b + "!" for b in BODIES - {"calm 1"}},
    ),
    "coalesce waits for its first argument": Shape(
        "SELECT id, coalesce(nullif(ai_gen(body), '<calm 1>'), ai_gen('2 ' || body)) FROM tickets",
        BODIES | {"2 calm 1"},
    ),
    "a branch waits for a column of a subquery": Shape(
        "SELECT id, if(g = '<calm 1>', 'y', ai_gen(g)) FROM (SELECT id, ai_gen(body) AS g FROM tickets)",
        BODIES | {f"<{b}>" for b in BODIES - {"calm 1"}},
    ),
    "a branch of a view waits": Shape(
        "SELECT r FROM replies WHERE id < 3",
        {"angry 0", "calm 1", "calm 2", "0 angry 0", "0 calm 2"},
    ),
    "a branch that NULL leads to": Shape(
        "SELECT coalesce(ai_gen(nullif(team, 'team0')), ai_gen(body)) FROM tickets WHERE id < 2", {"team1", "angry 0"}
    ),
    "a branch waits for ranks": Shape(
        "SELECT CASE WHEN rank() OVER (ORDER BY ai_gen(body)) = 1 THEN ai_gen(body || '!') END FROM tickets",
        BODIES | {"angry 0!"},
    ),
    "the keys of a limit, then its rows": Shape(
        "SELECT id, ai_gen(body || id) AS g FROM tickets ORDER BY ai_gen(body || '!' || id) DESC LIMIT 2",
        {f"{b}!{i}" for b, i in TICKETS} | {"calm 55", "calm 511"},
    ),
    "the keys of a limit by name": Shape(
        "CREATE TABLE out AS SELECT ai_gen(body || id) AS g, ai_gen(body || '!' || id) AS k FROM tickets t "
        "WHERE id < 6 ORDER BY k, t.id LIMIT 1 OFFSET 1",
        {f"{b}!{i}" for b, i in TICKETS if i < 6} | {"angry 33"},
        "FROM out",
    ),
    "the second of two alternatives": Shape(
        "SELECT id FROM tickets WHERE is_angry(body) OR is_angry(body || ' angry')",
        BODIES | {b + " angry" for b in CALM},
    ),
    "neither of two": Shape(
        "SELECT id FROM tickets WHERE NOT (is_angry(body) OR (is_angry(body || '!') OR id < 6))",
        BODIES | {b + "!" for b in CALM},
    ),
    "conditions in parentheses": Shape(
        "SELECT id FROM tickets WHERE (is_angry(body) AND (id % 6 = 1 OR id % 6 = 2))", {"calm 1", "calm 2"}
    ),
    "a column of a subquery is an AI condition": Shape(
        "SELECT id FROM (SELECT *, is_angry(body) AS a FROM tickets) WHERE a AND id < 2", {"angry 0", "calm 1"}
    ),
    "join on an AI condition": Shape(
        "SELECT t.id, u.colour FROM tickets t JOIN teams u ON is_angry(t.body || u.colour) AND t.team = u.team",
        {b + c for b, c in [(f"{'angry' if i % 3 == 0 else 'calm'} {i}", ("red", "blue")[i % 2]) for i in range(6)]},
    ),
    "filter above a join": Shape(
        "SELECT t.id FROM tickets t JOIN target u ON t.id = u.id WHERE is_angry(t.body)", BODIES - {"calm 4", "calm 5"}
    ),
    "filter above a left join": Shape(
        "SELECT t.id FROM tickets t LEFT JOIN target u ON t.id = u.id WHERE is_angry(t.body)", BODIES
    ),
    "group by answers": Shape("SELECT ai_gen(body) AS g, count(*) FROM tickets GROUP BY g", BODIES),
    "AI over an aggregate of answers": Shape(
        "SELECT team, summarize(string_agg(ai_gen(body), ';' ORDER BY id)) FROM tickets WHERE id < 6 GROUP BY team",
        BODIES | {"<angry 0>;<calm 2>;<calm 4>", "<calm 1>;<angry 3>;<calm 5>"},
    ),
    "having": Shape(
        "SELECT team FROM tickets WHERE id < 6 GROUP BY team HAVING is_angry(string_agg(body, ';' ORDER BY id))",
        {"angry 0;calm 2;calm 4", "calm 1;angry 3;calm 5"},
    ),
    "aggregate of answers": Shape(
        "SELECT team, ai_agg_list(list(ai_gen(body) ORDER BY id), 'Why?', overflow := 'error') FROM tickets "
        "WHERE id < 6 GROUP BY team",
        BODIES | {"<angry 0>\n\n<calm 2>\n\n<calm 4>", "<calm 1>\n\n<angry 3>\n\n<calm 5>"},
    ),
    "window over answers": Shape(
        "SELECT id, count(*) OVER (PARTITION BY ai_gen(body)), lag(ai_gen(body)) OVER (ORDER BY id) FROM tickets",
        BODIES,
    ),
    "qualify": Shape(
        "SELECT id, team FROM tickets QUALIFY row_number() OVER (PARTITION BY team ORDER BY id) <= 2 "
        "AND is_angry(body)",
        {"angry 0", "calm 1", "calm 2", "angry 3"},
    ),
    "cte used twice": Shape(
        "WITH g AS (SELECT id, ai_gen(body) AS gist FROM tickets) "
        "SELECT a.id, b.gist FROM g a JOIN g b ON a.id = b.id + 1",
        BODIES,
    ),
    "union": Shape(
        "SELECT ai_gen(body) FROM tickets WHERE id < 3 UNION SELECT ai_gen(body) FROM tickets WHERE id < 5",
        {"angry 0", "calm 1", "calm 2", "angry 3", "calm 4"},
    ),
    "correlated subquery": Shape(
        "SELECT team, (SELECT max(ai_gen(t.body)) FROM tickets t WHERE t.team = u.team AND t.id < 4) FROM teams u",
        {"angry 0", "calm 1", "calm 2", "angry 3"},
    ),
    "exists": Shape(
        "SELECT team FROM teams u WHERE EXISTS (FROM tickets t WHERE t.team = u.team AND is_angry(t.body))", BODIES
    ),
    "view": Shape("SELECT gist FROM gists WHERE id < 2", {"angry 0", "calm 1"}),
    "macro": Shape(
        "SELECT gist_of(body) AS answer FROM tickets", {f"gist: {b}" for b in BODIES}
    ),
    "limit": Shape("SELECT id, ai_gen(body || id) FROM tickets ORDER BY id LIMIT 2", {"angry 00", "calm 11"}),
    "limit and offset": Shape("SELECT ai_gen(body || id) FROM tickets ORDER BY id LIMIT 1 OFFSET 3", {"angry 33"}),
    "distinct": Shape("SELECT DISTINCT ai_gen(team) FROM tickets", {"team0", "team1"}),
    "positional parameters": Shape(
        "SELECT ai_gen(? || body) FROM tickets WHERE id = ?", {"hi calm 1"}, parameters=["hi ", 1]
    ),
    "named parameters": Shape(
        "SELECT ai_gen($hi || body) FROM tickets WHERE id = $id", {"hi calm 1"}, parameters={"hi": "hi ", "id": 1}
    ),
    "guarded parameters": Shape(
        "SELECT id FROM tickets WHERE is_angry(body || ?) AND id % ? = 1",
        {"calm 1!", "calm 4!"},
        parameters=["!", 3],
    ),
    "subquery in from": Shape(
        "SELECT upper(g) FROM (SELECT ai_gen(body) AS g FROM tickets) WHERE g LIKE '%1%'", BODIES
    ),
    "from first": Shape("FROM tickets SELECT ai_gen(team)", {"team0", "team1"}),
    "lateral": Shape("SELECT g FROM teams u, LATERAL (SELECT ai_gen(u.colour) AS g)", {"red", "blue"}),
    "lateral with an option": Shape(
        "SELECT g FROM teams u, LATERAL (SELECT ai_gen(u.colour, model := nullif('echo', u.colour)) AS g)",
        {"red", "blue"},
    ),
    "method call": Shape("SELECT body.summarize() FROM tickets", BODIES),
    "lambda over a list": Shape(
        "SELECT list_transform(['a', 'b'], lambda x: upper(x)), ai_gen(team) FROM tickets", {"team0", "team1"}
    ),
    "values": Shape("VALUES (ai_gen('a')), (ai_gen('b'))", {"a", "b"}),
    "constant": Shape("SELECT ai_gen('a')", {"a"}),
    "NULL asks nothing": Shape("SELECT ai_gen(NULL), ai_gen(nullif(team, 'team0')) FROM tickets", {"team1"}),
    "create table as": Shape("CREATE TABLE out AS SELECT id, ai_gen(body) AS g FROM tickets", BODIES, "FROM out"),
    "create or replace with a cte": Shape(
        "CREATE OR REPLACE TABLE target AS WITH q AS (FROM tickets WHERE id < 2) SELECT ai_gen(body) AS g FROM q",
        {"angry 0", "calm 1"},
        "FROM target",
    ),
    "insert select": Shape(
        "INSERT INTO target SELECT id, ai_gen(body) FROM tickets WHERE id > 9", {"calm 4", "calm 5"}, "FROM target"
    ),
    "insert values": Shape(
        "INSERT INTO target (id, text) VALUES (100, ai_gen('a')), (101, ai_gen('b'))", {"a", "b"}, "FROM target"
    ),
    "insert values of many types": Shape(
        "CREATE TABLE kinds (a VARCHAR, b DATE, c DOUBLE, d ENUM('x', 'y'), e INTEGER[], f VARCHAR, g VARCHAR); "
        "INSERT INTO kinds VALUES (1, '2020-01-02', 3, 'x', '[1, 2]', ai_gen('a'), ai_gen('c', max_tokens := 9)), "
        "(3000000000, NULL, -4, 'y', NULL, ai_gen('b'), ai_gen('c', max_tokens := 9))",
        {"a", "b", "c"},
        "FROM kinds",
    ),
    "insert values with a default": Shape(
        "INSERT INTO target (text, id) VALUES (ai_gen('a'), 100), (DEFAULT, 101)",
        {"a"},
        "FROM target",
    ),
    "insert on conflict": Shape(
        "INSERT INTO target SELECT id, ai_gen(body) FROM tickets WHERE id < 5 ON CONFLICT (id) DO UPDATE "
        "SET text = excluded.text",
        BODIES - {"calm 5"},
        "FROM target",
    ),
    "insert with a cte and returning": Shape(
        "WITH q AS (FROM tickets WHERE id = 11) INSERT INTO target SELECT id, ai_gen(body) FROM q RETURNING text",
        {"calm 5"},
        "FROM target",
    ),
    "update": Shape("UPDATE target SET text = ai_gen(text) WHERE id <> 0", CALM - {"calm 4", "calm 5"} | {"angry 3"},
                    "FROM target"),
    "update where": Shape(
        "UPDATE target SET text = summarize('new ' || text) WHERE is_angry(text) AND id < 3",
        {"angry 0", "calm 1", "calm 2", "new angry 0"},
        "FROM target",
    ),
    "update from": Shape(
        "UPDATE target SET text = ai_gen(u.colour) FROM teams u WHERE u.team = 'team' || (target.id % 2)",
        {"red", "blue"},
        "FROM target",
    ),
    "merge": Shape(
        "MERGE INTO target USING tickets t ON target.id = t.id AND t.id < 6 "
        "WHEN MATCHED AND is_angry(t.body) THEN UPDATE SET text = ai_gen('up ' || t.body) "
        "WHEN NOT MATCHED AND t.id < 6 THEN INSERT (id, text) VALUES (t.id, ai_gen('in ' || t.body))",
        {"angry 0", "calm 1", "calm 2", "angry 3", "up angry 0", "up angry 3", "in calm 4", "in calm 5"},
        "FROM target",
    ),
    "delete": Shape("DELETE FROM target WHERE is_angry(text)", {"angry 0", "calm 1", "calm 2", "angry 3"},
                    "FROM target"),
    "delete with a cheap condition": Shape(
        "DELETE FROM target WHERE is_angry(text) AND id % 2 = 0", {"angry 0", "calm 2"}, "FROM target"
    ),
    "several statements": Shape(
        "CREATE TABLE a AS SELECT ai_gen(team) AS g FROM tickets; CREATE TABLE b AS SELECT ai_gen(g) AS g FROM a",
        {"team0", "team1", "<team0>", "<team1>"},
        "FROM a UNION ALL FROM b",
    ),
    "explicit transaction": Shape(
        "BEGIN; CREATE TABLE a AS SELECT ai_gen(team) AS g FROM tickets; INSERT INTO a SELECT ai_gen(g) FROM a; COMMIT",
        {"team0", "team1", "<team0>", "<team1>"},
        "FROM a",
    ),
    "rolled back": Shape(
        "BEGIN; INSERT INTO target SELECT id, ai_gen(body) FROM tickets WHERE id = 11; ROLLBACK",
        {"calm 5"},
        "FROM target",
    ),
}  # fmt: skip
