"""Failed requests, and what a user reads of many: how often each kind came, some examples, how to go on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from sqlinfer.errors import EXCERPT
from sqlinfer.types import Completion
from sqlinfer.units import count

_EXAMPLES = 3
_PATTERNS = 5
_TEXT = 60
_SPECIFIC = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\d[\d,.]*""")
"""What differs between two errors of a kind: quoted texts and numbers."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no answer, or why a row has no request."""

    function: str
    """Its name."""
    model: str
    """The version; "" for a row without a request."""
    excerpt: str
    """The start of its text."""
    error: str
    """The message."""
    step: int = 1
    """Of its call; the first is 1."""

    @classmethod
    def of(cls, completion: Completion) -> Failure | None:
        """The failure of a request; None if it has an answer, or was cancelled."""
        if completion.output is not None or completion.is_cancelled:
            return None
        route, text = completion.request.route, completion.request.excerpt
        return cls(route.function.name, str(route.version), text[:EXCERPT], completion.error or "no answer")

    @property
    def pattern(self) -> str:
        """The error without what is specific to this request."""
        return _SPECIFIC.sub("..", self.error)

    def __str__(self) -> str:
        where = f" in step {self.step}" if self.step > 1 else ""
        text = self.excerpt if len(self.excerpt) <= _TEXT else self.excerpt[: _TEXT - 3] + "..."
        model = f" with model {self.model}" if self.model else ""
        return f"{self.function}{where}{model} on {text!r}: {self.error}"


Failures = dict[bytes, Failure]
"""By the key of the request, or of the row that has none."""


def summary(
    failures: Collection[Failure], retry_hint: str, job_id: int | None = None, kept: str = "all other answers are kept"
) -> str:
    """What failed. retry_hint: how the failed requests are computed again. kept: what becomes of the others."""
    lines = [f"{count(len(failures), 'request')} failed; {kept}."]
    patterns = Counter(failure.pattern for failure in failures)
    if len(failures) > 1:
        lines += [f"  {number:,} x {pattern}" for pattern, number in patterns.most_common(_PATTERNS)]
        if len(patterns) > _PATTERNS:
            lines.append(f"  and {count(len(patterns) - _PATTERNS, 'other kind')}")
    lines += [f"  {failure}" for failure in islice(failures, _EXAMPLES)]
    names = {failure.function for failure in failures}
    listed = f" `sqlinfer jobs errors {job_id}` lists all." if job_id is not None and len(failures) > 1 else ""
    function = f"{min(names)}(..., on_error := 'null')"
    lines.append(f"Ask them again: {retry_hint}.{listed} Write {function} to get NULL for failed rows")
    return "\n".join(lines)
