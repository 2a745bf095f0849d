"""Reads a Python file: it has `init()` and `run(batch)`, or a class with `load(path, device)` and `predict(batch)`."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def load(path: Path, file: str) -> Any:
    """Import a script and prepare it."""
    script = path / file
    sys.path[:0] = list(dict.fromkeys([str(script.parent), str(path)]))
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module
    spec.loader.exec_module(module)
    if callable(getattr(module, "run", None)):
        getattr(module, "init", bool)()
        return SimpleNamespace(predict=module.run)
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__ and hasattr(value, "predict")
    ]
    if len(classes) != 1:
        raise TypeError(f"{file} has neither a function run(batch) nor one class with load(path, device) and predict")
    model = classes[0]()
    if hasattr(model, "load"):
        model.load(str(path), "cpu")
    return model
