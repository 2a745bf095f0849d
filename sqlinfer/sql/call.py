"""One distinct row of a function on its way to a value: it asks one question, several in steps, or none.

Knows no store and no engine: it says what it asks, takes the texts, and goes on.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from sqlinfer.errors import RequestsFailed, SqlinferError
from sqlinfer.sql.columns import as_json
from sqlinfer.sql.questions import Given, Question, Questions
from sqlinfer.types import Request

_EXCERPT = 200


class Call:
    """A call with its arguments.

    asks: the questions that it waits for, or waited for last. value: NULL until all its questions have answers.
    failure: the key of what failed it, if something did. on_error: 'fail' or 'null'.
    """

    __slots__ = ("_asks_one", "_given", "_questions", "_steps", "asks", "failure", "value")

    def __init__(self, questions: Questions, given: Given) -> None:
        self.asks: list[Question] = []
        self.value: Any = None
        self.failure: bytes | None = None
        self._questions = questions
        self._given = given
        self._steps: Generator[Any, Any, Any] | None = None
        self._asks_one = True

    @property
    def on_error(self) -> str:
        return self._given.options.on_error

    def begin(self) -> None:
        """Hand the arguments to the author's code; its errors name the file and the arguments."""
        function, arguments = self._questions.function, self._given.arguments
        try:
            outcome = function.ask(**arguments)
            if function.is_in_steps:
                self._steps = outcome
                self._advance(None)
            elif function.is_computed:
                self._keep(outcome)
            else:
                self._ask(outcome, "return")
        except SqlinferError:
            raise
        except Exception as error:
            where = f"{function.path}: {function.name} failed on {str(tuple(arguments.values()))[:_EXCERPT]}"
            raise SqlinferError(f"{where}: {type(error).__name__}: {error}") from error

    def go_on(self, texts: Sequence[str]) -> bool:
        """Take the answers to what it asks; whether it asks more. Raises what the author's code raises."""
        if self._steps is not None:
            return self._advance(texts[0] if self._asks_one else list(texts))
        read = self._questions.function.read
        self._keep(texts[0] if read is None else read(texts[0]))
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
        is_json = self._questions.function.type_of is not None and value is not None
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
            if not isinstance(request, Request) or not isinstance(request.text, str):
                raise TypeError(f"it must {verb} a Request with a text, not {request!r}")
        self.asks = [self._questions.of(request, self._given, step) for request in requests]
