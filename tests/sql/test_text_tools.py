"""Translate, correct, mask; and ROUGE, which asks no model."""

from __future__ import annotations

import duckdb
import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.sql import Session
from tests.conftest import EchoEngine


def test_a_text_tool_asks_what_its_arguments_say(con: Session, echo: EchoEngine) -> None:
    con.execute(
        "SELECT ai_translate('a', 'German'), ai_translate('b', 'English', 'German'), ai_fix_grammar('c'), "
        "ai_mask('d', ['person', 'phone'])"
    ).fetchall()
    instructions = {request.text: request.instruction for request in echo.asked}
    assert "into German" in instructions["a"]
    assert "from English into German" in instructions["b"]
    assert "grammar" in instructions["c"]
    assert "person, phone" in instructions["d"]


def test_a_longer_text_may_have_a_longer_answer(con: Session, echo: EchoEngine) -> None:
    con.execute("SELECT ai_fix_grammar(repeat(x, 1000)) FROM (VALUES ('a'), ('aa'), ('\u6c49')) v(x)").fetchall()
    most = [request.parameters.max_tokens for request in sorted(echo.asked, key=lambda r: len(r.text.encode()))]
    assert most == [512, 1024, 1536]


def test_NULL_asks_nothing_and_no_labels_are_refused(con: Session, echo: EchoEngine) -> None:
    calls = ("ai_translate(NULL, 'x')", "ai_translate('x', NULL)", "ai_mask('x', NULL)", "rouge(NULL, 'x')")
    sql = f"SELECT {', '.join(calls)}, rouge('x', NULL)"
    assert con.execute(sql).fetchone() == (None,) * 5
    with pytest.raises(SqlinferError, match="labels must name what to mask"):
        con.execute("SELECT ai_mask('x', [])")
    assert echo.asked == []


@pytest.mark.parametrize(
    ("prediction", "reference", "rouge1"),
    [
        ("привет мир", "Привет, мир!", 1.0),
        ("Größe", "Grüße", 0.0),
        ("Gro\u0308ße", "GRÖßE", 1.0),
        ("हिन्दी भाषा", "हिन्दी", 2 / 3),
        ("东京很大", "东京很小。", 0.75),
        ("ラーメン", "ラーメン", 1.0),
        ("한국어 문장", "한국어", 2 / 3),
    ],
)
def test_rouge_reads_words_of_any_script(con: Session, prediction: str, reference: str, rouge1: float) -> None:
    row = con.execute("SELECT rouge(?, ?).rouge1", [prediction, reference]).fetchone()
    assert row == (pytest.approx(rouge1),)


def test_rouge_is_the_librarys(con: Session, direct: duckdb.DuckDBPyConnection, echo: EchoEngine) -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"])
    pairs = [("the cat sat", "the cat sat"), ("a\nb c", "b c\nd"), ("", "x"), ("the dog sat", "the dog, it sat.")]
    rows = ", ".join(f"('{a}', '{b}')" for a, b in pairs)
    sql = f"SELECT rouge(p, r) FROM (VALUES {rows}) v(p, r)"
    expected = [
        ({name: pytest.approx(score.fmeasure) for name, score in scorer.score(reference, prediction).items()},)
        for prediction, reference in pairs
    ]
    assert con.execute(sql).fetchall() == expected
    assert direct.execute(sql).fetchall() == expected
    assert con.execute("SELECT rouge('a b', 'a b').rougeL").fetchone() == (1.0,)
    assert echo.asked == []
