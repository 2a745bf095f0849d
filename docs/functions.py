"""Writes docs/functions.md from the function files and examples/sql: `python -m docs.functions`, from the root.

Each function has its example in examples/sql, named after it; what it prints is what the example printed.
"""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner

from sqlinfer.cli import main
from sqlinfer.functions import OPTIONS, Function, load_functions
from sqlinfer.store import Store
from tools.random_models import build

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "functions.md"
HEAD = f"""# Functions

The SQL functions that come with sqlinfer. `python -m docs.functions` writes this page from their files and from
`examples/sql/`; the models are those that come with sqlinfer; only the classifier of ai_predict has random weights.

Every function that asks a model takes these by name too: {", ".join(f"`{option}`" for option in OPTIONS)}.
"""


def page() -> str:
    """The page as it should be."""
    own = {function.name: function for function in load_functions().values()}
    with _models():
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
    blocks = f"```sql\n{sql}```\n\n```text\n{_output(sql)}```"
    _, _, more = (inspect.getdoc(function.ask) or "").partition("\n\n")
    said = f"{about}\n\n{more}" if more else about
    return f"## {function.name}\n\n`{function.signature}`\n\n{said}\n\n{blocks}\n"


def _output(sql: str) -> str:
    result = CliRunner().invoke(main, ["run", "-"], input=sql)
    if result.exit_code != 0:
        raise SystemExit(f"{sql}\n{result.stderr}")
    return result.stdout


@contextmanager
def _models() -> Iterator[None]:
    """A state folder of its own, with the models that examples name; the root as working folder."""
    before, settings = Path.cwd(), dict(os.environ)
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"SQLINFER_HOME": home, "COLUMNS": "100"}
        os.chdir(ROOT)
        try:
            with Store(Path(home)) as store:
                encoder = build("bert", Path(home) / "encoder")
                store.registry.register("classifier", str(_classifier(encoder, Path(home) / "classifier")))
            yield
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(settings)


def _classifier(encoder: Path, folder: Path) -> Path:
    """A classifier on top of an encoder, with random weights; its folder."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    shutil.copytree(encoder, folder)
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(folder, id2label=dict(enumerate(["defect", "question", "praise"])))
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
