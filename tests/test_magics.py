"""%sqlinfer and %%sqlinfer in IPython, and the notebook of the examples in a real kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

import sqlinfer
from tests.conftest import EchoEngine
from tests.slow_echo import PATIENCE_S

ROOT = Path(__file__).parents[1]


@pytest.fixture
def shell(registered: None, echo: EchoEngine) -> Iterator[Any]:
    """IPython with the extension, and a session `con` on the echo model."""
    made = InteractiveShell()
    made.run_line_magic("load_ext", "sqlinfer")
    with sqlinfer.connect(model="echo", udfs=[]) as con:
        con.runtime.open_engine = lambda version: echo
        made.user_ns["con"] = con
        yield made
    made.history_manager.end_session()


def test_a_cell_takes_dataframes_and_gives_one(shell: Any, echo: EchoEngine) -> None:
    shell.user_ns["texts"] = pd.DataFrame({"body": ["a", "b", "a"]})
    assert shell.run_cell_magic("sqlinfer", "-c con -o gists", "SELECT body, ai_gen(body) AS gist FROM texts") is None
    assert shell.user_ns["gists"].values.tolist() == [["a", "<a>"], ["b", "<b>"], ["a", "<a>"]]
    assert echo.texts == ["a", "b"]
    shown = shell.run_cell_magic("sqlinfer", "", "CREATE TABLE t AS FROM gists; SELECT count(*) AS n FROM t")
    assert shown["n"].tolist() == [3]
    assert shell.run_line_magic("sqlinfer", "SELECT summarize('x') AS s")["s"].tolist() == ["<x>"]
    assert shell.run_line_magic("sqlinfer", "DROP TABLE t") is None


def test_a_cell_may_have_several_queries(shell: Any) -> None:
    shown = shell.run_cell_magic("sqlinfer", "-c con", "SELECT i FROM range(5000) r(i); SHOW MODELS; SELECT 2 AS b")
    assert shown["b"].tolist() == [2]
    assert shell.run_line_magic("sqlinfer", "SELECT 5 AS five")["five"].tolist() == [5]


def test_without_a_session_one_is_opened(shell: Any) -> None:
    shell.run_line_magic("sqlinfer", "CREATE TABLE t AS SELECT 1 AS i")
    assert shell.run_line_magic("sqlinfer", "FROM t")["i"].tolist() == [1]
    with pytest.raises(Exception, match="t does not exist"):
        shell.user_ns["con"].sql("FROM t")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("-c cun", "cun is no session. Did you mean con?"),
        ("-x con", "option -x not recognized"),
        ("con", "'con' is no option"),
    ],
)
def test_wrong_options_are_named(shell: Any, line: str, says: str) -> None:
    with pytest.raises(sqlinfer.SqlinferError, match=says.replace("?", r"\?")):
        shell.run_cell_magic("sqlinfer", line, "SELECT 1")


@pytest.mark.parametrize(
    ("sql", "says"),
    [("SELECT ai_gne('a')", 'Did you mean "ai_gen"?'), ("SELECT ai_gen('a', modle := 'x')", "Did you mean model?")],
)
def test_what_is_wrong_in_sql_is_shown_without_a_stack(
    shell: Any, capsys: pytest.CaptureFixture[str], sql: str, says: str
) -> None:
    assert not shell.run_cell(f"%%sqlinfer -c con\n{sql}").success
    shown = capsys.readouterr().out
    assert says in shown
    assert "/sqlinfer/" not in shown


def test_names_are_completed(shell: Any) -> None:
    con = shell.user_ns["con"]
    assert {"execute", "sql", "read_parquet", "register", "job"} <= set(dir(con))
    assert {"df", "pl", "filter", "aggregate"} <= set(dir(con.sql("SELECT 1")))


@pytest.mark.slow
def test_the_notebook_of_the_examples_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    notebook = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    written = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("text/html" in output.get("data", {}) for output in written)
    assert not any(output.output_type == "error" for output in written)
    nbclient.NotebookClient(
        notebook,
        timeout=PATIENCE_S,
        startup_timeout=PATIENCE_S,
        kernel_name="python3",
        resources={"metadata": {"path": ROOT / "examples"}},
    ).execute()
    (moods,) = [cell for cell in notebook.cells if "AS sentiment, count(*)" in cell.source]
    (result,) = [output for output in moods.outputs if output.output_type == "execute_result"]
    assert "<table" in result.data["text/html"]
