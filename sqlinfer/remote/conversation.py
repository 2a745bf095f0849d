"""One request to a model that writes: asked, checked, asked once more if its answer is of no use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sqlinfer.errors import EXCERPT
from sqlinfer.remote.chat import (
    PATH,
    Answer,
    BadAnswer,
    ChatMessage,
    chat_body,
    correction,
    earlier_turns,
    first_message,
    optional_parameters,
    read_answer,
    schema_of,
    unsupported_parameter,
)
from sqlinfer.remote.choices import read_choices, unfenced
from sqlinfer.remote.exchange import ServerError
from sqlinfer.remote.remote_model import RemoteModel
from sqlinfer.types import Choose, Completion, Generate, Output, Text

_ASKS = 2
"""Of a request whose answer does not fit: once more, with the error."""
_EMPTY_RETRIES = 3
"""Of an answer without a text, which is paid for each time."""
_SHORTER = 0.75
_LONGEST_ANSWER_TOKENS = 512
"""That a place in tokens_per_minute is taken for, where max_tokens says nothing."""


class Conversation:
    """Asks for the answer to one request."""

    def __init__(self, model: RemoteModel, request: Generate | Choose) -> None:
        self._model = model
        self._request = request
        self._spending = model.spending()

    async def answer(self) -> Completion:
        """The completion. Raises ServerError."""
        request = self._request
        if problem := unsupported_parameter(self._model.source, request):
            return self._failed(problem)
        text = request.text
        while True:
            try:
                completion = await self._answer(text)
            except ServerError as error:
                if request.overflow != "truncate" or not error.is_about_length or not text:
                    raise
                text = text[: int(len(text) * _SHORTER)]
            else:
                return replace(completion, truncated=text != request.text)

    async def _answer(self, text: str) -> Completion:
        request, problem = self._request, ""
        corrections: list[ChatMessage] = []
        for _ in range(_ASKS):
            try:
                answer = await self._ask(text, corrections)
            except BadAnswer as error:
                return self._failed(str(error), error.is_retryable)
            try:
                output = read_output(request, answer)
            except ValueError as error:
                problem = str(error)
                if answer.finish_reason == "length":
                    return self._failed(f"it ended at max_tokens, before it was whole; raise max_tokens: {problem}")
                corrections = correction(answer.text[: 4 * EXCERPT], problem)
            else:
                return Completion(request, output, finish_reason=answer.finish_reason, **self._used)
        return self._failed(problem)

    async def _ask(self, text: str, corrections: list[ChatMessage]) -> Answer:
        """One answer; without the parameters that the server refuses. Raises ServerError and BadAnswer."""
        model, request, num_empty = self._model, self._request, 0
        while True:
            is_constrained = model.abilities.takes("response_format", schema_of(request))
            messages = [*earlier_turns(request), first_message(request, text, is_constrained), *corrections]
            prompt = "\n".join(message["content"] for message in messages)
            tokens = model.count_tokens(prompt) + (request.parameters.max_tokens or _LONGEST_ANSWER_TOKENS)
            body = chat_body(model.source, request, messages, model.abilities)
            try:
                reply = await model.server.ask(PATH, body, model.flow, tokens)
                answer = read_answer(reply.content)
            except ServerError as error:
                if not model.abilities.learn(error, optional_parameters(request, body)):
                    raise
            except BadAnswer as error:
                self._spending.add(reply.content, prompt, "")
                num_empty += 1
                if not error.is_retryable or num_empty > min(model.flow.max_retries, _EMPTY_RETRIES):
                    raise
            else:
                self._spending.add(reply.content, prompt, answer.text)
                return answer

    def _failed(self, problem: str, is_retryable: bool = False) -> Completion:
        used = self._used
        return Completion(self._request, error=problem, finish_reason="error", is_retryable=is_retryable, **used)

    @property
    def _used(self) -> dict[str, Any]:
        spent = self._spending
        return {
            "prompt_tokens": spent.prompt_tokens,
            "completion_tokens": spent.completion_tokens,
            "cost": spent.cost,
            "snapshot": spent.snapshot,
        }


def read_output(request: Generate | Choose, answer: Answer) -> Output:
    """The output that an answer is. Raises ValueError if it does not fit the request."""
    if isinstance(request, Choose):
        return read_choices(request.choices, answer.text, answer.tokens)
    return Text(_checked_json(answer.text, request.schema) if request.schema else answer.text)


def _checked_json(text: str, schema: str) -> str:
    """The JSON of an answer, which satisfies a schema. Raises ValueError."""
    content = unfenced(text)
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("the answer is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"the answer is not JSON ({error}): {text[:60]!r}") from None
    errors: Sequence[Any] = list(_validator(schema).iter_errors(value))
    if errors:
        worst = errors[0]
        where = ".".join(map(str, worst.absolute_path))
        raise ValueError(
            f"the answer does not fit the schema{f' at {where}' if where else ''}: {worst.message[:EXCERPT]}"
        )
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    import jsonschema

    return jsonschema.validators.validator_for(json.loads(schema), jsonschema.Draft202012Validator)(json.loads(schema))
