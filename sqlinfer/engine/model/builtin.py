"""The built-in models: small, trained on reviews and tickets by tools/tiny; their weights are in the package.

Importing this loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlinfer.types import ModelVersion

WEIGHTS = Path(__file__).parents[2] / "weights"

_DESCRIPTIONS = {
    "sqlinfer/tiny": "decoder of 3.7M parameters for trying things: short English reviews and tickets, nothing else",
    "sqlinfer/tiny-summarizer": "encoder-decoder of 3.3M parameters that says a review or a ticket in one sentence",
    "sqlinfer/tiny-embed": "encoder of 1.2M parameters that puts texts on one kind of product together",
}
_TASKS = {"sqlinfer/tiny-summarizer": "summarize", "sqlinfer/tiny-embed": "embed"}

BUILTINS: Mapping[str, ModelVersion] = {
    name: ModelVersion(
        name,
        version=0,
        source="built-in",
        path=WEIGHTS / name.removeprefix("sqlinfer/"),
        fingerprint="",
        task=_TASKS.get(name, ""),
        dtype="float32",  # the same answers on every machine
        description=description,
    )
    for name, description in _DESCRIPTIONS.items()
}
DEFAULTS: Mapping[str, str] = {
    "": "sqlinfer/tiny",
    "summarize": "sqlinfer/tiny-summarizer",
    "embed": "sqlinfer/tiny-embed",
}
"""The model for each task when none is named, "" for any."""
