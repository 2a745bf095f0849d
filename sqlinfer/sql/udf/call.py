"""One distinct row of a function on its way to a value: by one request, by several in steps, or by none.

Knows no store and no engine: it gives its requests, takes their outputs, and goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from typing import Any

from sqlinfer.errors import EXCERPT, ModelNotFound, ModelUnusable, RequestsFailed, SqlinferError, StoreUnusable
from sqlinfer.functions import Function
from sqlinfer.inference.keyed_request import KeyedRequest
from sqlinfer.sql.udf.request_builder import NO_ARGUMENTS, RequestBuilder
from sqlinfer.store import KEY_BYTES
from sqlinfer.types import AnyRequest, Json, Output


class Call:
    """A call with the values of its row: arguments, then options.

    requests: those that it waits for, or waited for last.
    value: NULL until all its requests have answers.
    failure: the key of what failed it, if something did.
    is_open: whether its value is NULL for now alone.
    """

    __slots__ = ("_bound", "_builder", "_is_single", "_row", "_steps", "failure", "is_open", "requests", "value")

    def __init__(self, builder: RequestBuilder, row: tuple[Any, ...]) -> None:
        self.requests: list[KeyedRequest] = []
        self.value: Any = None
        self.failure: bytes | None = None
        self.is_open = False
        self._builder = builder
        self._row = row
        self._bound = NO_ARGUMENTS
        self._steps: Generator[Any, Any, Any] | None = None
        self._is_single = True

    @property
    def function(self) -> Function:
        return self._builder.function

    @property
    def on_error(self) -> Any:
        """'fail' or 'null', or what else the row has."""
        return self._builder.on_error(self._row)

    @property
    def key(self) -> bytes:
        """The row's own, for a failure that comes before any request."""
        identity = f"{self.function.file_hash} {self._row!r}"
        return hashlib.blake2b(identity.encode("utf-8", "replace"), digest_size=KEY_BYTES).digest()

    @property
    def excerpt(self) -> str:
        named = zip(self.function.arguments, self._row, strict=False)
        argument, value = next((pair for pair in named if pair[0].name != "model"), (None, ""))
        return (argument.python_type(value).excerpt if argument and argument.is_any_value else str(value))[:EXCERPT]

    def begin(self) -> str | None:
        """Check the arguments and hand them to the author's code, unless a NULL among them makes the value NULL.
        Returns why the row has no request, if so; what is wrong with a model is raised."""
        try:
            bound = self._builder.bind(self._row)
            if bound is not None:
                self._bound = bound
                self._begin(bound.arguments)
        except (ModelNotFound, ModelUnusable, StoreUnusable):
            raise
        except SqlinferError as error:
            return str(error).removeprefix(f"{self.function.name}: ")
        except Exception as error:  # noqa: BLE001 - the author's code may raise anything
            arguments = str(self._row[: len(self.function.arguments)])[:EXCERPT]
            where = f"{self.function.path}: {self.function.name} failed on {arguments}"
            return f"{where}: {type(error).__name__}: {error}"
        return None

    def _begin(self, arguments: dict[str, Any]) -> None:
        outcome = self.function.ask(**arguments)
        if self.function.is_in_steps:
            self._steps = outcome
            self._advance(None)
        elif self.function.is_computed:
            self._keep(outcome)
        else:
            self._build([outcome], "return")

    def go_on(self, outputs: Sequence[Output]) -> bool:
        """Take the outputs of its requests; whether it has further ones. Raises what the author's code raises."""
        if self._steps is not None:
            return self._advance(outputs[0] if self._is_single else list(outputs))
        read = self.function.read
        self._keep(outputs[0] if read is None else read(outputs[0]))
        return False

    def leave_open(self) -> None:
        """Note that there is no answer yet."""
        self.is_open = True

    def mark_failed(self, key: bytes) -> None:
        """Note the key of what failed it."""
        self.failure = key

    def fail(self, key: bytes, message: str) -> bool:
        """Take the failure of a request, for which a call in steps may have a value; whether it has further ones."""
        self.failure = key
        if self._steps is None:
            return False
        try:
            has_more = self._advance(RequestsFailed(message))
        except RequestsFailed:
            return False
        self.failure = None
        return has_more

    def _keep(self, value: Any) -> None:
        is_json = self.function.type_of is not None and value is not None and not isinstance(value, Json)
        self.value = as_json(value) if is_json else value

    def _advance(self, answer: Any) -> bool:
        """Run to the next step with requests; whether there is one. An error is raised there."""
        assert self._steps is not None
        while True:
            try:
                yielded = self._steps.throw(answer) if isinstance(answer, Exception) else self._steps.send(answer)
            except StopIteration as done:
                self._keep(done.value)
                return False
            if yielded != []:
                self._is_single = not isinstance(yielded, list)
                self._build([yielded] if self._is_single else yielded, "yield")
                return True
            answer = []

    def _build(self, drafts: list[Any], verb: str) -> None:
        step = self.requests[0].step + 1 if self.requests else 1
        for draft in drafts:
            if not isinstance(draft, AnyRequest) or not isinstance(draft.text, str):
                raise TypeError(f"it must {verb} a Request with a text, not {draft!r}")
        if step == 1 and drafts[0].needs_text and not drafts[0].text.strip() and not drafts[0].files:
            return  # of nothing a model makes something up: the value is NULL, as it is for NULL
        self.requests = [self._builder.build(draft, self._bound, step) for draft in drafts]


def as_json(value: Any) -> str:
    """A value as JSON text that DuckDB reads: halves of surrogate pairs, which it does not, become question marks."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode()
