"""sqlinfer: batch inference in SQL, on DuckDB, on your own GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlinfer.errors import SqlinferError
from sqlinfer.functions.details import detailed, detailed_type
from sqlinfer.functions.long_texts import each_part, in_parts, whole
from sqlinfer.types import (
    AnyValue,
    Choose,
    Classify,
    Count,
    CountTokens,
    Cuts,
    Embed,
    Embedding,
    Generate,
    Json,
    ModelVersion,
    Parameters,
    Predict,
    Probabilities,
    Request,
    SplitText,
    Steps,
    Text,
    TextOrBlob,
    yes_or_no,
)

if TYPE_CHECKING:
    from sqlinfer.functions.calibration import calibrated
    from sqlinfer.sql import Session, answer_type
    from sqlinfer.sql.connect import connect, register

__version__ = "0.1.0"
__all__ = [
    "AnyValue",
    "Choose",
    "Classify",
    "Count",
    "CountTokens",
    "Cuts",
    "Embed",
    "Embedding",
    "Generate",
    "Json",
    "ModelVersion",
    "Parameters",
    "Predict",
    "Probabilities",
    "Request",
    "Session",
    "SplitText",
    "SqlinferError",
    "Steps",
    "Text",
    "TextOrBlob",
    "answer_type",
    "calibrated",
    "connect",
    "detailed",
    "detailed_type",
    "each_part",
    "in_parts",
    "register",
    "whole",
    "yes_or_no",
]


def __getattr__(name: str) -> Any:
    """Load the SQL floor (and with it DuckDB) when it is first asked for."""
    if name == "calibrated":
        from sqlinfer.functions.calibration import calibrated

        return calibrated
    if name in ("Session", "answer_type", "connect", "register"):
        from sqlinfer import sql

        return getattr(sql, name)
    raise AttributeError(f"module 'sqlinfer' has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext sqlinfer` calls: the magics %sqlinfer and %%sqlinfer."""
    from sqlinfer.notebook import Magic

    shell.register_magic_function(Magic(shell).run, "line_cell", "sqlinfer")
