"""A user's project that imports sqlinfer passes mypy --strict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

USER = """
from collections.abc import Iterator

import sqlinfer


def reply(text: str, tone: str = "friendly") -> sqlinfer.Request:
    return sqlinfer.Request(text, instruction=f"Answer {tone}.", parameters=sqlinfer.Parameters(max_tokens=16))


def moods(con: sqlinfer.Session) -> Iterator[str]:
    for (mood,) in con.sql("SELECT ai_sentiment('good')").fetchall():
        yield str(mood)


with sqlinfer.connect("x.duckdb", model="sqlinfer/tiny", settings={"max_requests": 10}) as con:
    con.execute("SELECT ?", [1]).begin()
    print(list(moods(con.cursor())))
"""
WRONG = """
import sqlinfer

with sqlinfer.connect(model=3) as con:
    con.execute(["SELECT 1"], 1)
sqlinfer.Request(text=1)
"""

CONFIG = """
[mypy]
strict = true

[mypy-torch.*,transformers.*,mlflow.*,huggingface_hub.*]
follow_imports = skip
"""
"""No type of these is seen in the API, and to read them takes minutes."""


def mypy(path: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", path.name],
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_a_users_project_passes_strict_checks_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    user, wrong = tmp_path / "user.py", tmp_path / "wrong.py"
    (tmp_path / "mypy.ini").write_text(CONFIG)
    user.write_text(USER)
    wrong.write_text(WRONG)
    assert mypy(user) == (0, "")
    code, said = mypy(wrong)
    assert code == 1
    assert said.count("[arg-type]") == 3, said
