"""`sqlinfer models`: the registry through the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.conftest import write_model


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    """Two folders with different weights."""
    for number in (1, 2):
        write_model(tmp_path / f"m{number}", float(number))
    return str(tmp_path / "m1"), str(tmp_path / "m2")


def test_a_model_is_registered_shown_and_removed(invoke: Invoke, two: tuple[str, str]) -> None:
    options = ["--task", "summarize", "--set", "max_tokens=64", "--set", "stop=END", "--tag", "team=news"]
    invoke("models", "register", "short", two[0], *options, "--description", "for headlines")
    assert "short/2 is registered" in invoke("models", "register", "short", two[1]).stdout
    invoke("models", "alias", "short", "champion", "1")
    invoke("models", "tag", "short/2", "state=new")
    first = json.loads(invoke("models", "show", "short@champion", "--json").stdout)
    assert {name: first[name] for name in ("name", "version", "source", "task", "parameters", "tags", "aliases")} == {
        "name": "short",
        "version": 1,
        "source": two[0],
        "task": "summarize",
        "parameters": {"max_tokens": 64, "stop": ["END"]},
        "tags": {"team": "news"},
        "aliases": {"champion": 1},
    }
    assert first["versions"] == [1, 2]
    assert json.loads(invoke("models", "show", "short", "--json").stdout)["tags"] == {"team": "news", "state": "new"}
    assert "champion" in invoke("models", "show", "short").stdout
    invoke("models", "alias", "short", "champion", code=2)
    invoke("models", "alias", "short", "champion", "--drop")
    refused = invoke("models", "tag", "short/2", "team", "--drop", code=1)
    assert "short/2 has no tag 'team' of its own. Known: state." in refused.stderr
    invoke("models", "tag", "short/2", "state", "--drop")
    short = json.loads(invoke("models", "show", "short", "--json").stdout)
    assert (short["aliases"], short["tags"]) == ({}, {"team": "news"})
    invoke("models", "remove", "short/2")
    assert json.loads(invoke("models", "show", "short", "--json").stdout)["version"] == 1
    invoke("models", "remove", "short")
    assert "No model 'short'" in invoke("models", "show", "short", code=1).stderr


def test_a_relative_folder_is_kept_absolute(invoke: Invoke, two: tuple[str, str]) -> None:
    fact = json.loads(invoke("models", "register", "short", os.path.relpath(two[0]), "--json").stdout)
    assert fact["source"] == two[0]
    os.chdir("/")
    invoke("models", "show", "short")


def test_search_finds_words_in_any_field(invoke: Invoke, two: tuple[str, str]) -> None:
    invoke("models", "register", "short", two[0], "--description", "headlines of news")
    invoke("models", "register", "other", two[1])
    assert [m["name"] for m in json.loads(invoke("models", "search", "NEWS head", "--json").stdout)] == ["short"]
    assert "short" in invoke("models", "search", "news").stdout


def test_the_default_of_a_task_can_be_chosen(invoke: Invoke, two: tuple[str, str]) -> None:
    tasks = ("any", "generate", "summarize", "embed")
    built_in = dict.fromkeys(tasks, "sqlinfer/tiny")
    built_in |= {"summarize": "sqlinfer/tiny-summarizer", "embed": "sqlinfer/tiny-embed"}
    assert json.loads(invoke("models", "default", "--json").stdout) == built_in
    invoke("models", "register", "short", two[0])
    invoke("models", "default", "summarize", "short")
    assert json.loads(invoke("models", "default", "--json").stdout) == {**built_in, "summarize": "short"}
    invoke("models", "default", "short")
    assert json.loads(invoke("models", "default", "--json").stdout)["generate"] == "short"
    assert "summarize" in invoke("models", "default").stdout
    invoke("models", "default", "a", "b", "c", code=2)


def test_the_list_says_what_the_built_in_models_are(invoke: Invoke) -> None:
    facts = json.loads(invoke("models", "list", "--json").stdout)
    assert [fact["name"] for fact in facts] == ["sqlinfer/tiny", "sqlinfer/tiny-embed", "sqlinfer/tiny-summarizer"]
    assert [fact["task"] for fact in facts] == ["", "embed", "summarize"]
    assert "toy decoder" in facts[0]["description"]


def test_every_verb_speaks_json(invoke: Invoke, two: tuple[str, str]) -> None:
    for words in (
        ["register", "short", two[0]],
        ["alias", "short", "best", "1"],
        ["tag", "short@best", "a=b"],
        ["default", "short"],
        ["list"],
        ["show", "short"],
        ["search", "short"],
        ["default"],
        ["remove", "short"],
    ):
        json.loads(invoke("models", *words, "--json").stdout)


def test_show_says_what_a_model_generates_with(invoke: Invoke, two: tuple[str, str]) -> None:
    shown = json.loads(invoke("models", "show", "sqlinfer/tiny-summarizer", "--json").stdout)
    assert shown["generation"]["num_beams"] == 1
    assert shown["generation"]["max_tokens"] > 0
    invoke("models", "register", "broken", two[0])
    assert "tokenizer" in json.loads(invoke("models", "show", "broken", "--json").stdout)["unusable"]
