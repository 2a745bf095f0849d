"""Writes docs/functions.md from the function files and examples/sql: `python -m docs.functions`, from the root.

Each function has its example in examples/sql, named after it. What the example prints is shown with the model that
answered; an example that needs a model of the reader's own shows nothing, as the built-in ones would be wrong.
"""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner

from sqlinfer.cli import main
from sqlinfer.cli.state import open_store
from sqlinfer.functions import OPTIONS, Function, load_functions

ROOT = Path(__file__).parents[1]
NEEDS = "-- Needs a"
"""Begins the comment of an example that needs a model of the reader's own."""
PAGE = ROOT / "docs" / "functions.md"
HEAD = f"""# Functions

The SQL functions that come with sqlinfer. `python -m docs.functions` writes this page from their files and from
`examples/sql/`. Results are those of the named model; the ones that come with sqlinfer are toys, and where they are too
small the page shows no result. [engine.md](engine.md#how-large-a-model) says how large a model a task needs.

Every function that asks a model takes these by name too: {", ".join(f"`{option}`" for option in OPTIONS)}.
"""


def page() -> str:
    """The page as it should be."""
    own = {function.name: function for function in load_functions().values()}
    with _state():
        return "\n".join([HEAD, *(_section(own[name]) for name in sorted(own))])


def _section(function: Function) -> str:
    example = ROOT / "examples" / "sql" / f"{function.name}.sql"
    sql = example.read_text(encoding="utf-8")
    aliases = f" Also {', '.join(f'`{alias}`' for alias in function.aliases)}." if function.aliases else ""
    lists = "".join(f" Over a list: `{name}`." for name in function.list_names.values())
    kind = "the type that the arguments say" if function.type_of else function.returns
    if function.is_vector:
        kind = "FLOAT[n], n as the model has it"
    about = f"{function.help} Returns {kind}.{aliases}{lists}"
    blocks = f"```sql\n{sql}```\n" + ("" if NEEDS in sql else _output(sql))
    _, _, more = (inspect.getdoc(function.ask) or "").partition("\n\n")
    said = f"{about}\n\n{more}" if more else about
    return f"## {function.name}\n\n`{function.signature}`\n\n{said}\n\n{blocks}"


def _output(sql: str) -> str:
    result = CliRunner().invoke(main, ["run", "-"], input=sql)
    if result.exit_code != 0:
        raise SystemExit(f"{sql}\n{result.stderr}")
    with open_store() as store:
        models = [f"`{model}`" for model in store.jobs.list(1)[0].models]
    return f"\n{f'With {models[0]}:' if models else 'Result:'}\n\n```text\n{result.stdout}```\n"


@contextmanager
def _state() -> Iterator[None]:
    """A state folder of its own; the root as working folder."""
    before, settings = Path.cwd(), dict(os.environ)
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"SQLINFER_HOME": home, "COLUMNS": "100"}
        os.chdir(ROOT)
        try:
            yield
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(settings)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
