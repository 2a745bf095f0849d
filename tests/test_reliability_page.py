"""docs/reliability.md: each promise names what holds it, and that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
_HEAD = ("| guarantee", "| ---")
PROMISES = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(_HEAD)]


def test_the_page_has_its_promises() -> None:
    assert len(PROMISES) > 20


@pytest.mark.parametrize("promise", PROMISES, ids=lambda line: line[2:50])
def test_each_promise_names_the_tests_that_hold_it(promise: str) -> None:
    named = re.findall(r"`(tests/[^`]+|\.\.[^`]+)`", promise.rpartition(" | ")[2])
    assert named, "no test is named"
    file = ""
    for each in named:
        file, _, name = (file + "::" + each if each.startswith("..") else each).partition("::")
        assert (ROOT / file).is_file(), f"{file} is not there"
        found = re.findall(r"^def (test_\w+)", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        assert any(
            test.endswith(name.lstrip(".")) if name.startswith("..") else test == name or not name for test in found
        ), each
