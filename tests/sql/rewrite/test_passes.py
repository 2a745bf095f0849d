"""The passes over SQL text, by pairs of SQL: a statement, a line `-->`, what the pass makes of it."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.functions import Functions, load_functions
from sqlinfer.sql.parsing.dml_to_select import dml_to_select
from sqlinfer.sql.parsing.probe_queries import probe_queries
from sqlinfer.sql.parsing.references import ai_columns, referenced_words
from sqlinfer.sql.parsing.split_statements import split_statements
from sqlinfer.sql.parsing.tokens import tokenize
from sqlinfer.sql.rewrite import passes
from sqlinfer.sql.rewrite.context import RewriteContext
from sqlinfer.sql.rewrite.name_parameters import name_parameters, named_values
from sqlinfer.sql.rewrite.order_predicates import order_predicates
from sqlinfer.sql.rewrite.passes import Pass

HERE = Path(__file__).parent
PASSES: tuple[Pass, ...] = (
    *passes.EXPLAIN_PASSES,
    *passes.PASSES,
    *passes.OUTPUT_PASSES,
    *passes.PARAMETER_PASSES,
    *passes.GUARD_PASSES,
    *passes.LIMIT_PASSES,
    *passes.PROBE_PASSES,
)
BUILT_IN = {function.name: function for function in load_functions().values()}
CONTEXT = RewriteContext(
    Functions([*BUILT_IN.values(), replace(BUILT_IN["ai_agg"], name="f", aliases=())]),
    ai_names=frozenset({"f", "g"}),
    views=(
        ("branching", "CREATE VIEW branching AS SELECT coalesce(f(x), g(x)) AS c FROM t;"),
        ("plain", "CREATE TEMPORARY VIEW main.plain(d) AS SELECT c FROM branching"),
    ),
    embedding_width={None: 64, "wide": 128}.get,
    ai_schema=True,
    parameters=["a", "b", "c"],
    output_action="append_row",
    table_exists=lambda name: "there" in name,
    value_of={"(getvariable('file'))": "it's.csv"}.get,
)
"""What all pairs know: f is an AI aggregate, f and g lead to AI functions, a table whose name holds `there` exists."""

DERIVED: dict[str, Callable[[str], tuple[str, ...] | list[str]]] = {
    "dml_to_select": dml_to_select,
    "probe_queries": probe_queries,
    "split_statements": split_statements,
}
"""What gives several texts, a line each."""


def pairs(name: str) -> list[tuple[str, str]]:
    _, _, body = (HERE / f"{name}.sql").read_text(encoding="utf-8").partition("\n")
    blocks = [block.partition("-->") for block in body.split("\n\n")]
    return [(before.strip(), after.strip()) for before, _, after in blocks]


def rewritten(rewrite: Pass, sql: str) -> str:
    """What a pass makes of a statement; an error that it raises as a text."""
    try:
        return rewrite(sql, CONTEXT)
    except SqlinferError as error:
        return f"Error: {error}"


@pytest.mark.parametrize(
    ("rewrite", "sql", "expected"),
    [pytest.param(p, *pair, id=f"{p.__name__}-{pair[0][:40]}") for p in PASSES for pair in pairs(p.__name__)],
)
def test_a_pass_makes_of_a_statement_what_the_pair_says(rewrite: Pass, sql: str, expected: str) -> None:
    assert rewritten(rewrite, sql).strip() == expected


@pytest.mark.parametrize(("name", "sql", "expected"), [(name, *pair) for name in DERIVED for pair in pairs(name)])
def test_a_statement_gives_the_texts_that_the_pair_says(name: str, sql: str, expected: str) -> None:
    assert "\n".join(DERIVED[name](sql)).strip() == expected


@pytest.mark.parametrize("rewrite", PASSES)
def test_each_pass_is_a_file_of_its_name_with_a_doctest_and_pairs(rewrite: Pass) -> None:
    module = importlib.import_module(f"sqlinfer.sql.rewrite.{rewrite.__name__}")
    assert getattr(module, rewrite.__name__) is rewrite
    assert ">>>" in (rewrite.__doc__ or "")
    assert len(pairs(rewrite.__name__)) >= 5


@pytest.mark.parametrize("rewrite", PASSES)
def test_a_pass_leaves_what_is_no_call_alone(rewrite: Pass) -> None:
    """Names in texts, comments and quoted names are no calls, whatever the letters around them."""
    sql = "SELECT 'ai_gen(x) ü AND f(y)' AS \"ai_embed(é)\" /* WHERE f(x) AND y ? */ FROM t -- AI.IF(('a', b)) 😀"
    assert rewrite(sql, CONTEXT) == sql


def test_tokens_have_the_spans_that_they_say() -> None:
    sql = "SELECT 'é😀', f(g(x))[1:2], \"a\"\"b\" /* ( */, $$)$$, E'\\'', 1.5e-3 AS é -- )\n FROM t"
    tokens = tokenize(sql)
    assert [sql[token.start : token.end] for token in tokens] == [token.text for token in tokens]
    assert tokens[-1].depth == 0
    assert [token.text for token in tokens if token.depth == 2] == ["x"]


@pytest.mark.parametrize("space", ["\ufeff", "\u00a0", "\u3000"])
def test_spaces_of_unicode_are_spaces_and_stay_in_texts(space: str) -> None:
    sql = f"{space}COPY{space}(SELECT{space}'a{space}b'){space}TO -- {space}\n{space}x"
    tokens = tokenize(sql)
    assert [token.text for token in tokens] == ["COPY", "(", "SELECT", f"'a{space}b'", ")", "TO", "x"]
    assert [sql[token.start : token.end] for token in tokens] == [token.text for token in tokens]


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (" ; ;; ", []),
        ("a; b", ["a", "b"]),
        ("\ufeff-- a\nSELECT 1; \ufeff ;", ["-- a\nSELECT 1"]),
        ("select ';'; select $$;$$ /* ; */; -- ;", ["select ';'", "select $$;$$ /* ; */"]),
    ],
)
def test_split_takes_no_semicolon_inside_texts_and_comments(text: str, statements: list[str]) -> None:
    assert split_statements(text) == statements


def test_parameters_are_named_in_their_order_and_question_marks_in_texts_stay() -> None:
    assert name_parameters("SELECT '?', ?, $2, ?1 -- ?", CONTEXT) == "SELECT '?', $p1, $p2, $p1 -- ?"
    assert named_values(["a", "b"]) == {"p1": "a", "p2": "b"}


def random_condition(source: random.Random, atoms: list[str], depth: int) -> str:
    parts = [
        source.choice(atoms) if depth == 0 or source.random() < 0.5 else random_condition(source, atoms, depth - 1)
        for _ in range(source.randint(1, 3))
    ]
    joined = source.choice([" AND ", " OR "]).join(parts)
    return source.choice([f"({joined})", f"NOT ({joined})"]) if depth < 3 else joined


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT 1 AS f, f, f.x FROM t AS f", set()),
        ("SELECT f FROM v", {"v"}),
        ("SELECT v FROM t v GROUP BY v", set()),
        ("SELECT x.f(), (SELECT 1 FROM a JOIN v USING (i))", {"f", "v"}),
        ("FROM t, (v), LATERAL f(t.x)", {"v", "f"}),
        ("SELECT 1 FROM a JOIN b ON a.v = b.v, v", {"v"}),
        ("COPY v TO 'x'", {"v"}),
        ("EXECUTE v(1)", {"v"}),
        ("SUMMARIZE f", {"f"}),
        ("UPDATE v SET f = 1 WHERE v.f", {"v"}),
    ],
)
def test_calls_and_relations_lead_to_functions_and_aliases_and_columns_do_not(sql: str, words: set[str]) -> None:
    assert referenced_words(sql) & {"f", "v"} == words


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT f(x) AS a, b, c + f(y) d, e: f(z) FROM t", {"a", "d", "e"}),
        ("WITH q(a, b) AS (SELECT f(x), y FROM t) SELECT b AS c, d FROM q", {"a", "b", "c"}),
        ("CREATE VIEW v(a) AS SELECT f(x) FROM t", {"a"}),
        ("SELECT * FROM (VALUES (f('x'))) AS u(a)", {"a"}),
        ("SELECT x AS a, count(*) b FROM t WHERE f(x)", set()),
        ("SELECT b FROM (SELECT a || 1 AS b FROM (SELECT f(x) AS a FROM t))", {"a", "b"}),
    ],
)
def test_a_column_is_one_of_an_ai_function_where_its_expression_has_one(sql: str, columns: set[str]) -> None:
    assert ai_columns(sql, {"f"}) == columns


def test_a_guarded_condition_lets_the_same_rows_through() -> None:
    """Random conditions over three-valued logic, on plain DuckDB functions in place of AI ones."""
    source = random.Random(7)
    calls = ["f(t.a)", "g(t.b)", "f(t.a) IS NULL", "NOT g(t.a)", "(t.a = 1 OR f(t.b))"]
    atoms = [*calls, "t.a > t.b", "t.b BETWEEN 1 AND 2", "t.a IS NULL"]
    con = duckdb.connect()
    con.execute("CREATE MACRO f(x) AS x % 2 = 0; CREATE MACRO g(x) AS x > 1")
    con.execute(
        "CREATE TABLE t AS SELECT a, b FROM (VALUES (0), (1), (2), (NULL)) x(a), (VALUES (0), (2), (NULL)) y(b)"
    )
    joins = ["t", "t JOIN t u ON t.a = u.b", "t LEFT JOIN t u ON t.a = u.b AND u.a > 0"]
    guarded = 0
    for _ in range(300):
        condition = random_condition(source, atoms, 3)
        sql = f"SELECT t.a, t.b FROM {source.choice(joins)} WHERE {condition} ORDER BY ALL"
        rewritten = order_predicates(sql, CONTEXT)
        guarded += rewritten != sql
        assert con.execute(rewritten).fetchall() == con.execute(sql).fetchall(), (sql, rewritten)
    con.close()
    assert guarded > 100
