"""Replacements in a SQL text, collected while its tokens are read and applied once. Knows no SQL."""

from __future__ import annotations

from collections.abc import Iterable


class Edits:
    """The edits that a pass makes to one text, by spans of the text as it was.

    Edits are made from the inside out: a replacement may cover earlier ones, and takes their results with `render`.

    >>> edits = Edits("f(g(x))")
    >>> edits.replace(2, 6, "h(x)")
    >>> edits.replace(0, 7, f"[{edits.render(2, 6)}]")
    >>> edits.insert(7, " AS y")
    >>> edits.apply()
    '[h(x)] AS y'
    """

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._edits: list[tuple[int, int, str]] = []

    def insert(self, position: int, text: str) -> None:
        """Put a text before the character at a position; behind what was inserted there before."""
        self._edits.append((position, position, text))

    def replace(self, start: int, end: int, text: str) -> None:
        """Put a text in the place of a span, and of the edits inside it."""
        self._edits = [edit for edit in self._edits if not start <= edit[0] <= edit[1] <= end]
        self._edits.append((start, end, text))

    def render(self, start: int, end: int) -> str:
        """A span of the text with the edits inside it."""
        parts, position = list[str](), start
        for edit_start, edit_end, text in sorted(self._inside(start, end), key=lambda edit: edit[:2]):
            parts += [self._sql[position:edit_start], text]
            position = edit_end
        return "".join([*parts, self._sql[position:end]])

    def apply(self) -> str:
        """The whole text with all edits."""
        return self.render(0, len(self._sql))

    def _inside(self, start: int, end: int) -> Iterable[tuple[int, int, str]]:
        return (edit for edit in self._edits if start <= edit[0] and edit[1] <= end)
