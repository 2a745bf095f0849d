"""Rows as text: a table for people, CSV or JSON lines for programs. Knows nothing of where rows come from."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

_PIPE_COLUMNS = 100
_LEAST_WIDTH = 12
"""Of a column: a table with many columns becomes wider than the terminal and stays readable."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""Of commands that print a table or facts."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def echo_json(value: Any) -> None:
    """Print one value as a line of JSON."""
    click.echo(to_json(value))


def to_json(value: Any) -> str:
    """A value as one line of JSON; texts stay readable."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def echo_table(names: Sequence[str], rows: Iterable[Sequence[Any]], are_numbers: Sequence[bool] | None = None) -> None:
    """Print rows as a table as wide as the terminal, or 100 columns where there is none. are_numbers: of each column,
    whether its texts are numbers."""
    click.echo(to_table(names, rows, are_numbers))


def echo_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values below each other; what is empty is left out."""
    shown = {name: value for name, value in facts.items() if value not in (None, "", {}, [], ())}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        click.echo(f"{name:{width}}  {to_cell(value)}")


def echo_blocks(blocks: Iterable[Mapping[str, str]]) -> None:
    """Print texts by name, a block for each mapping with an empty line between them; lines stay as they are."""
    for number, block in enumerate(blocks):
        if number:
            click.echo()
        width = max(map(len, block), default=0)
        for name, text in block.items():
            first, *rest = to_text(text).split("\n")
            click.echo(f"{name:{width}}  {first}".rstrip())
            for line in rest:
                click.echo(" " * (width + 2) * bool(line) + line)


def to_table(names: Sequence[str], rows: Iterable[Sequence[Any]], are_numbers: Sequence[bool] | None = None) -> str:
    """Rows as a table; long texts are wrapped, numbers stand to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    held = list(rows)
    table = Table(box=box.SQUARE, show_lines=False)
    for index, name in enumerate(names):
        is_number = are_numbers[index] if are_numbers else _are_numbers([row[index] for row in held])
        table.add_column(Text(to_cell(name)), justify="right" if is_number else "left", overflow="fold")
    for row in held:
        table.add_row(*(Text(to_cell(value)) for value in row))
    width = max(shutil.get_terminal_size((_PIPE_COLUMNS, 24)).columns, _LEAST_WIDTH * len(names))
    console = Console(width=width, no_color=True, highlight=False, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def to_cell(value: Any) -> str:
    """A value on one line, harmless on a terminal: control characters are written as escapes. The text 'NULL' has
    quotes, and is told from NULL."""
    if value is None:
        return "NULL"
    if value == "NULL":
        return "'NULL'"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _CONTROL.sub(lambda match: repr(match[0])[1:-1], value)
    if isinstance(value, dict | list | tuple | bytes):
        return to_cell(to_json(value))
    return str(value)


def to_text(text: str) -> str:
    """A text on its own lines, harmless on a terminal."""
    return "\n".join(to_cell(line) for line in text.strip().splitlines())


def _are_numbers(values: Sequence[Any]) -> bool:
    """Whether there are numbers, and nothing else but None."""
    types = {type(value) for value in values} - {type(None)}
    return bool(types) and types <= {int, float}


def _plain(value: Any) -> Any:
    """The value with types that JSON lacks as text; NaN and infinity become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
