"""An embedding as the text of an answer, and back: 32-bit floats, little-endian, in base64.

Loads numpy when it is asked, and knows no model.
"""

from __future__ import annotations

import base64
from typing import Any

from sqlinfer.types import Float


def to_text(vector: Any) -> str:
    """The text of a numpy vector.

    >>> import numpy as np
    >>> to_text(np.array([1.0, -0.5]))
    'AACAPwAAAL8='
    """
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def from_text(text: str) -> list[Float]:
    """The numpy vector, of 32-bit floats, that a text says; to type checkers and to SQL a list.

    >>> from_text("AACAPwAAAL8=")
    array([ 1. , -0.5], dtype=float32)
    """
    import numpy as np

    vector: Any = np.frombuffer(base64.b64decode(text), dtype="<f4")
    return vector  # type: ignore[no-any-return]


def cosine(a: Any, b: Any) -> float | None:
    """The cosine of the angle between two numpy vectors, -1 to 1; None if one of them is zero.

    >>> import numpy as np
    >>> cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0]))
    0.7071067811865475
    """
    import numpy as np

    a, b = a.astype("f8"), b.astype("f8")
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return max(-1.0, min(1.0, float(a @ b) / norm)) if norm else None
