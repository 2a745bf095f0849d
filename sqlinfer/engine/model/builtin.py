"""The built-in models: small, trained on reviews and tickets by tools/tiny; their weights are in the package.

Importing this loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlinfer.types import ModelVersion

WEIGHTS = Path(__file__).parents[2] / "weights"

_DESCRIPTIONS = {
    "sqlinfer/tiny": "toy decoder of 3.7M parameters: short English reviews and tickets, nothing else",
    "sqlinfer/tiny-summarizer": "toy encoder-decoder of 3.3M parameters: summarizes a review or ticket in a sentence",
    "sqlinfer/tiny-embed": "toy encoder of 1.2M parameters: puts texts about the same kind of product close together",
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
