"""docs/functions.md says what the function files say, and each function's example prints what stands there."""

from __future__ import annotations

from docs.functions import PAGE, ROOT, page
from sqlinfer.functions import load_functions


def test_every_function_has_an_example_that_calls_it() -> None:
    for function in load_functions().values():
        text = (ROOT / "examples" / "sql" / f"{function.name}.sql").read_text(encoding="utf-8")
        assert f"{function.name}(" in text


def test_the_page_is_up_to_date() -> None:
    assert page() == PAGE.read_text(encoding="utf-8"), "run: python -m docs.functions"
