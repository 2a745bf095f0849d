"""Run a benchmark of this folder by name: `python -m benchmarks classify`, and what the benchmark takes after it."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(argv: list[str]) -> int:
    """Hand the rest of the arguments to the main of the benchmark that the first one names; else list all."""
    files = {path.stem: path for path in sorted(HERE.glob("*.py")) if not path.name.startswith("_")}
    if argv and argv[0] in files:
        importlib.import_module(f"benchmarks.{argv[0]}").main(argv[1:])
        return 0
    print("usage: python -m benchmarks NAME [ARGUMENTS]\n")
    for name, path in files.items():
        print(f"  {name:12} {(ast.get_docstring(ast.parse(path.read_text())) or '').partition(chr(10))[0]}")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
