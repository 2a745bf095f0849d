"""Every block of the README and of docs/writing-functions.md runs, in order, in one folder; its output is real."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import sqlinfer
from sqlinfer.cli import main
from tests import slow_echo
from tools.random_models import build

ROOT = Path(__file__).parents[1]
LANGUAGES = {"sql", "bash", "python", "text"}
NOT_HERE = {
    "make demo": "it makes the environment that runs this test",
    "sqlinfer models register qwen": "it downloads a model from the hub",
}


def blocks(path: Path) -> list[tuple[str, str]]:
    """Language and text of the fenced blocks of a page."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", path.read_text(encoding="utf-8"), flags=re.M | re.S)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the README's reader has: the examples, a model of their own, a query."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "examples").symlink_to(ROOT / "examples")
    build("t5", work / "my-t5")
    (work / "query.sql").write_text("SELECT summarize('a text', max_words := 3) AS gist")
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "100")
    # The blocks in bash start a dozen processes: on the echo engine each is there in a second.
    program = tmp_path / "bin" / "sqlinfer"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {" ".join(slow_echo.PROGRAM)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{Path(sys.executable).parent}", prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SLOW_ECHO_S", "0")
    return work


def run_sql(sql: str, *words: str) -> str:
    result = CliRunner().invoke(main, ["run", "-", *words], input=sql)
    assert result.exit_code == 0, sql + result.stderr
    return result.stdout


def test_the_first_block_prints_what_the_readme_says(folder: Path) -> None:
    (first, sql), (second, output), *_ = blocks(ROOT / "README.md")
    assert (first, second) == ("sql", "text")
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert lines.index("```sql") < 6
    assert run_sql(sql) == output
    counts = json.loads(run_sql(sql, "--json").splitlines()[-1])
    assert (counts["rows"], counts["requests"], counts["known"]) == (4, 98, 98)


def test_every_block_of_the_readme_runs(folder: Path) -> None:
    page = blocks(ROOT / "README.md")
    assert {language for language, _ in page} <= LANGUAGES
    for language, text in page:
        if any(text.startswith(start) for start in NOT_HERE):
            continue
        if language == "bash":
            subprocess.run(["bash", "-euc", text], check=True, capture_output=True, timeout=300)
        elif language == "sql":
            run_sql(text)
        elif "-> Request" in text:
            (name,) = re.findall(r"^def (\w+)", text, flags=re.M)
            (folder / "udfs").mkdir()
            (folder / "udfs" / f"{name}.py").write_text(text)
        elif language == "python":
            exec(compile(text, "README.md", "exec"), {})


def test_the_python_of_the_python_page_runs(folder: Path) -> None:
    (source,) = [text for language, text in blocks(ROOT / "docs" / "python.md") if language == "python"]
    made: dict[str, object] = {}
    exec(compile(source, "python.md", "exec"), made)
    assert made["con"]
    assert set(made["negative"]["sentiment"]) == {"negative"}  # type: ignore[index]


def test_the_readme_is_short_and_names_what_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 250
    for link in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (ROOT / link).is_file(), link
    for example in re.findall(r"examples/[\w./]+", text):
        assert (ROOT / example).exists(), example


def test_the_functions_of_the_guide_load_and_answer(folder: Path) -> None:
    (folder / "udfs").mkdir()
    names = []
    for language, source in blocks(ROOT / "docs" / "writing-functions.md"):
        assert language == "python"
        names.append(re.findall(r"^def (\w+)", source, flags=re.M)[0])
        (folder / "udfs" / f"{names[-1]}.py").write_text(source)
    with sqlinfer.connect() as session:
        (asked,) = session.execute("SELECT is_urgent('help', scale := 'hours'), ai_is_urgent(NULL)").fetchall()
        assert isinstance(asked[0], bool)
        assert asked[1] is None
        for name in names:
            rows = session.execute(f"SELECT {name}(x, max_tokens := 3) FROM (VALUES (NULL), ('help')) v(x)").fetchall()
            assert rows[0] == (None,)
            assert rows[1] != (None,)
