"""Values of SQL as functions take them, where no Python type says enough. Knows nothing but the standard library."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import NewType, Self

Float = NewType("Float", float)
"""A number of 32 bits, as embeddings have them: SQL's FLOAT, where float is DOUBLE."""


class AnyValue(str):
    """A value of any SQL type: its type as DuckDB's typeof writes it, a line break, then its text.

    The text of a BLOB is base64, that of a STRUCT or a list JSON, any other the value as VARCHAR.
    """

    __slots__ = ()

    @classmethod
    def of(cls, value: object) -> Self:
        """A value that Python has: bytes are a BLOB, and all else comes as a text."""
        text = f"BLOB\n{b64encode(value).decode()}" if isinstance(value, bytes) else f"VARCHAR\n{value}"
        return cls(text)

    @property
    def sql_type(self) -> str:
        return self.partition("\n")[0]

    @property
    def text(self) -> str:
        return self.partition("\n")[2]

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """The bytes of a BLOB; nothing of a value of another type."""
        return (b64decode(self.text),) if self.sql_type == "BLOB" else ()

    @property
    def excerpt(self) -> str:
        """The value for people."""
        return describe_blobs(self.blobs) or self.text


class TextOrBlob(AnyValue):
    """A text, whose type is then "", or a BLOB; see AnyValue. Any other value comes as a text."""

    __slots__ = ()


Columns = NewType("Columns", str)
"""A text, or a struct of columns: one that the call lets reorder (reorder := true) comes as a JSON object."""


def describe_blobs(blobs: Sequence[bytes]) -> str:
    """Files, in place of their content.

    >>> describe_blobs([b"abc"])
    'BLOB (3 bytes)'
    """
    return ", ".join(f"BLOB ({len(blob):,} bytes)" for blob in blobs)
