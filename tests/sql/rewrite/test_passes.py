"""The passes over SQL text, by pairs of SQL: a statement, a line `-->`, what the pass makes of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from sqlinfer.sql.rewrite.lower_aggregates import lower_aggregates
from sqlinfer.sql.rewrite.order_predicates import order_predicates
from sqlinfer.sql.rewrite.probe_queries import probe_queries
from sqlinfer.sql.rewrite.quote_reserved_names import quote_reserved_names
from sqlinfer.sql.rewrite.split_statements import name_parameters, split
from sqlinfer.sql.rewrite.tokens import tokenize

PASSES: dict[str, Callable[[str], str]] = {
    "lower_aggregates": lambda sql: lower_aggregates(sql, {"f": "f_list"}),
    "order_predicates": lambda sql: order_predicates(sql, {"f", "g"}),
    "probe_queries": lambda sql: "\n".join(probe_queries(sql)),
    "quote_reserved_names": lambda sql: quote_reserved_names(sql, {"summarize"}),
}


def pairs(name: str) -> list[tuple[str, str]]:
    text = (Path(__file__).parent / f"{name}.sql").read_text()
    body = text.partition("\n")[2]
    blocks = [block.partition("-->") for block in body.split("\n\n")]
    return [(before.strip(), after.strip()) for before, _, after in blocks]


@pytest.mark.parametrize(("name", "sql", "expected"), [(name, *pair) for name in PASSES for pair in pairs(name)])
def test_a_pass_makes_of_a_statement_what_the_pair_says(name: str, sql: str, expected: str) -> None:
    assert PASSES[name](sql).strip() == expected


def test_tokens_have_the_spans_that_they_say() -> None:
    sql = "SELECT 'é😀', f(g(x))[1:2], \"a\"\"b\" /* ( */, $$)$$, E'\\'', 1.5e-3 AS é -- )\n FROM t"
    tokens = tokenize(sql)
    assert [sql[token.start : token.end] for token in tokens] == [token.text for token in tokens]
    assert tokens[-1].depth == 0
    assert [token.text for token in tokens if token.depth == 2] == ["x"]


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (" ; ;; ", []),
        ("a; b", ["a", "b"]),
        ("select ';'; select $$;$$ /* ; */; -- ;", ["select ';'", "select $$;$$ /* ; */"]),
    ],
)
def test_split_takes_no_semicolon_inside_texts_and_comments(text: str, statements: list[str]) -> None:
    assert split(text) == statements


def test_parameters_are_named_in_their_order_and_question_marks_in_texts_stay() -> None:
    sql, values = name_parameters("SELECT '?', ?, $2, ?1 -- ?", ["a", "b"])
    assert (sql, values) == ("SELECT '?', $p1, $p2, $p1 -- ?", {"p1": "a", "p2": "b"})


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
    for _ in range(200):
        condition = " AND ".join(source.sample(atoms, source.randint(1, 4)))
        sql = f"SELECT t.a, t.b FROM {source.choice(joins)} WHERE {condition} ORDER BY ALL"
        rewritten = order_predicates(sql, {"f", "g"})
        guarded += rewritten != sql
        assert con.execute(rewritten).fetchall() == con.execute(sql).fetchall(), (sql, rewritten)
    con.close()
    assert guarded > 100
