"""Every command has an example in its help and a line in docs/cli.md; help is quick and loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import sqlinfer
from sqlinfer.cli import main
from tests.cli.conftest import Invoke

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def commands(group: click.Group = main, path: str = "sqlinfer") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize(("path", "command"), [pytest.param(*each, id=each[0]) for each in commands()])
def test_every_command_has_an_example_and_a_place_in_the_docs(path: str, command: click.Command) -> None:
    lines = [line.strip() for line in (command.help or "").splitlines()]
    assert [line for line in lines if f"{line} ".startswith(f"{path} ")], f"the help of `{path}` has no example"
    page = DOCS.read_text(encoding="utf-8")
    assert f"`{path}" in page, f"docs/cli.md does not name `{path}`"
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.opts[0] in page, f"docs/cli.md does not name {option.opts[0]} of `{path}`"
            assert option.help, f"{option.opts[0]} of `{path}` has no help"


def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "import sys\nfrom sqlinfer.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('duckdb','torch','transformers','sqlglot','pyarrow','rich','numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_packages(invoke: Invoke) -> None:
    assert invoke("--version").stdout == f"sqlinfer {sqlinfer.__version__}\n"


def test_options_of_a_run_are_grouped(invoke: Invoke) -> None:
    text = invoke("run", "--help").stdout
    budgets = text[text.index("Budgets:") :].partition("\n\n")[0]
    assert [word for word in budgets.split() if word.startswith("--")] == [
        "--max-requests", "--max-prompt-tokens", "--max-completion-tokens", "--max-seconds", "--max-cost",
        "--max-pairs",
    ]  # fmt: skip
    others = text[text.index("Other options:") :]
    assert others.split()[2:4] == ["-h,", "--help"], "each option has its group"


def test_help_is_stable(invoke: Invoke) -> None:
    assert invoke("run", "--help").stdout == invoke("run", "--help").stdout
