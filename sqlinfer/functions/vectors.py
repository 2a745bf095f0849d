"""Vectors compared. Loads numpy when it is called, and knows no model."""

from __future__ import annotations

from typing import Any


def cosine(a: Any, b: Any) -> float | None:
    """The cosine of the angle between two embeddings, -1 to 1; None if one of them is zero.

    >>> cosine([1.0, 0.0], [1.0, 1.0])
    0.7071067811865475
    """
    import numpy as np

    a, b = np.asarray(a, "f8"), np.asarray(b, "f8")
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return max(-1.0, min(1.0, float(a @ b) / norm)) if norm else None
