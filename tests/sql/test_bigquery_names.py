"""BigQuery's names for the functions, in a schema `ai`, where a session wants them."""

from __future__ import annotations

import duckdb
import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.sql import Session
from tests.conftest import EchoEngine

TEXTS = "(VALUES ('angry'), ('calm')) v(x)"
CALLS = {
    f"SELECT x FROM {TEXTS} WHERE AI.IF(x, 'is angry')": f"SELECT x FROM {TEXTS} WHERE ai_if(x, 'is angry')",
    f"SELECT AI.IF(('is it (so)?', x)) FROM {TEXTS}": f"SELECT ai_if(x, 'is it (so)?') FROM {TEXTS}",
    f"SELECT ai.classify(AI.GENERATE(x), categories => ['angry', 'b']) FROM {TEXTS}": (
        f"SELECT ai_classify(ai_gen(x), ['angry', 'b']) FROM {TEXTS}"
    ),
    f"SELECT AI . SUMMARIZE(x, max_words := 3) FROM {TEXTS}": f"SELECT ai_summarize(x, max_words := 3) FROM {TEXTS}",
    f"SELECT AI.AGG(x, 'why?' ORDER BY x DESC) FROM {TEXTS}": f"SELECT ai_agg(x, 'why?' ORDER BY x DESC) FROM {TEXTS}",
    f"SELECT AI.SCORE(('is angry', x)) AS s FROM {TEXTS} ORDER BY s": (
        f"SELECT ai_score(x, 'is angry') AS s FROM {TEXTS} ORDER BY s"
    ),
}


@pytest.mark.parametrize("sql", CALLS)
def test_bigquerys_names_are_ours(sql: str, con: Session, echo: EchoEngine) -> None:
    con.execute("SET sqlinfer_ai_schema = true")
    assert con.execute(sql).fetchall() == con.execute(CALLS[sql]).fetchall()
    assert len(set(echo.asked)) == len(echo.asked), "both ask the same"


def test_without_the_setting_they_are_duckdbs(con: Session) -> None:
    with pytest.raises(duckdb.Error, match="SET sqlinfer_ai_schema = true"):
        con.execute(f"SELECT AI.GENERATE(x) FROM {TEXTS}")
    con.execute("CREATE SCHEMA ai; CREATE MACRO ai.twice(x) AS x || x")
    assert con.execute("SELECT ai.twice('a')").fetchone() == ("aa",)


def test_an_unknown_name_is_named(con: Session) -> None:
    con.execute("SET sqlinfer_ai_schema = true")
    with pytest.raises(SqlinferError, match=r"no function AI\.CLASIFY. Did you mean classify"):
        con.execute("SELECT AI.CLASIFY('x', ['a'])")
