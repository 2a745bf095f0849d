"""The project file: its keys, and how a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import sqlinfer
from sqlinfer.config.project_file import ProjectFile, read_project_file
from sqlinfer.errors import SqlinferError


def test_the_project_file_holds_its_keys_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "sqlinfer.yml"
    path.write_text(
        "name: shop\ndatabase: shop.duckdb\nmodel: short\nvars: {least: 5}\n"
        "settings:\n  max_retries: 5\n  environment: {OMP_NUM_THREADS: 4}\n"
    )
    assert read_project_file(path) == ProjectFile(
        "shop", "shop.duckdb", "short", {"least": 5}, {"max_retries": 5, "environment": {"OMP_NUM_THREADS": "4"}}
    )
    path.write_text("")
    assert read_project_file(path) == read_project_file(None) == ProjectFile()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("settings: {max_retrys: 5}", "Did you mean max_retries"),
        ("max_retries: 5", "below `settings:`"),
        ("setings: {}", "Did you mean settings"),
        ("databse: x", "Did you mean database"),
        ("settings: [1]", "expected names and values"),
        ("vars: 5", "expected names and values below vars"),
        ("name: 5", "name must be a text, not 5"),
        ("a: [", "not valid YAML"),
        ("just words", "expected names and values"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_file(tmp_path: Path, wrong: str, says: str) -> None:
    path = tmp_path / "sqlinfer.yml"
    path.write_text(wrong)
    with pytest.raises(SqlinferError, match=says) as raised:
        read_project_file(path)
    assert str(path) in str(raised.value)


def test_calls_that_name_no_model_go_to_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sqlinfer.yml").write_text("model: mine")
    monkeypatch.chdir(tmp_path)
    with sqlinfer.connect() as session:
        assert session.runtime.model == "mine"
    with sqlinfer.connect(model="other") as session:
        assert session.runtime.model == "other"
