"""One distinct row of a function on its way to a value: it asks one question, several in steps, or none.

Knows no store and no engine: it says what it asks, takes the outputs, and goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from typing import Any

from sqlinfer.errors import EXCERPT, ModelNotFound, ModelUnusable, RequestsFailed, SqlinferError, StoreUnusable
from sqlinfer.functions import Function
from sqlinfer.inference.keyed_request import KeyedRequest
from sqlinfer.sql.udf.arrow_rows import as_json
from sqlinfer.sql.udf.request_builder import NO_ARGUMENTS, RequestBuilder
from sqlinfer.store import KEY_BYTES
from sqlinfer.types import AnyRequest, Output


class Call:
    """A call with the values of its row: arguments, then options.

    asks: the questions that it waits for, or waited for last. value: NULL until all its questions have answers.
    failure: the key of what failed it, if something did.
    """

    __slots__ = ("_asks_one", "_given", "_questions", "_row", "_steps", "asks", "failure", "value")

    def __init__(self, questions: RequestBuilder, row: tuple[Any, ...]) -> None:
        self.asks: list[KeyedRequest] = []
        self.value: Any = None
        self.failure: bytes | None = None
        self._questions = questions
        self._row = row
        self._given = NO_ARGUMENTS
        self._steps: Generator[Any, Any, Any] | None = None
        self._asks_one = True

    @property
    def function(self) -> Function:
        return self._questions.function

    @property
    def on_error(self) -> Any:
        """'fail' or 'null', or what else the row says."""
        return self._questions.on_error(self._row)

    @property
    def key(self) -> bytes:
        """The row's own, for a failure that comes before any question."""
        said = f"{self.function.file_hash} {self._row!r}"
        return hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=KEY_BYTES).digest()

    @property
    def excerpt(self) -> str:
        named = zip(self.function.arguments, self._row, strict=False)
        return str(next((value for argument, value in named if argument.name != "model"), ""))[:EXCERPT]

    def begin(self) -> str | None:
        """Check the arguments and hand them to the author's code, unless a NULL among them makes the value NULL.
        Returns why the row cannot be asked, if so; what is wrong with a model is raised."""
        try:
            given = self._questions.given(self._row)
            if given is not None:
                self._given = given
                self._begin(given.arguments)
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
            self._ask(outcome, "return")

    def go_on(self, outputs: Sequence[Output]) -> bool:
        """Take the answers to what it asks; whether it asks more. Raises what the author's code raises."""
        if self._steps is not None:
            return self._advance(outputs[0] if self._asks_one else list(outputs))
        read = self.function.read
        self._keep(outputs[0] if read is None else read(outputs[0]))
        return False

    def fail(self, message: str) -> bool:
        """Tell a call in steps, which may have a value for that, that its request failed; whether it asks more."""
        if self._steps is None:
            return False
        try:
            asks_more = self._advance(RequestsFailed(message))
        except RequestsFailed:
            return False
        self.failure = None
        return asks_more

    def _keep(self, value: Any) -> None:
        is_json = self.function.type_of is not None and value is not None
        self.value = as_json(value) if is_json else value

    def _advance(self, answer: Any) -> bool:
        """Run to the next step that asks something; whether there is one. An error is raised there."""
        assert self._steps is not None
        while True:
            try:
                asked = self._steps.throw(answer) if isinstance(answer, Exception) else self._steps.send(answer)
            except StopIteration as done:
                self._keep(done.value)
                return False
            if asked != []:
                self._ask(asked, "yield")
                return True
            answer = []

    def _ask(self, asked: Any, verb: str) -> None:
        self._asks_one = not isinstance(asked, list) or verb == "return"
        step = self.asks[0].step + 1 if self.asks else 1
        requests = [asked] if self._asks_one else asked
        for request in requests:
            if not isinstance(request, AnyRequest) or not isinstance(request.text, str):
                raise TypeError(f"it must {verb} a Request with a text, not {request!r}")
        self.asks = [self._questions.of(request, self._given, step) for request in requests]
