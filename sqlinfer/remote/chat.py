"""Chat completions: the body of a request, and what an answer says. Knows no network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlinfer.config.remote_source import RemoteSource
from sqlinfer.remote.abilities import Abilities
from sqlinfer.remote.choices import choice_schema, choices_hint
from sqlinfer.remote.tokens import prompt_text
from sqlinfer.types import Choose, FinishReason, Generate, Parameters

ChatMessage = dict[str, str]
TokenProbabilities = Sequence[tuple[str, Mapping[str, float]]]
"""The tokens of an answer, each with the logarithms of the probabilities of those that could have stood there."""
PATH = "chat/completions"
_THINKING = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)
_TOP_LOGPROBS = 20
"""The most that servers give."""
_NEVER = ("num_beams",)
_EXTRAS = ("top_k", "min_tokens")


class BadAnswer(Exception):
    """An answer without a text. is_retryable: whether asking again may help."""

    def __init__(self, problem: str, is_retryable: bool = False) -> None:
        super().__init__(problem)
        self.is_retryable = is_retryable


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote."""

    text: str
    finish_reason: FinishReason
    tokens: TokenProbabilities = ()
    """Empty if the server gives no probabilities."""


def parameters_of(request: Generate | Choose) -> Parameters:
    """Those that are sent: a choice is one of few answers, which nothing shortens and nobody samples."""
    return Parameters() if isinstance(request, Choose) else request.parameters


def unsupported_parameter(source: RemoteSource, request: Generate | Choose) -> str:
    """Why a model cannot take a request's parameters; "" if it can."""
    parameters = parameters_of(request)
    neutral = {"num_beams": (None, 1), "top_k": (None, 0), "min_tokens": (None, 0)}
    for name in (*_NEVER, *_EXTRAS):
        value = getattr(parameters, name)
        if value not in neutral[name] and name not in source.preset.extras:
            return f"{name} is {value}, and {source.host} takes no {name}; leave it out"
    return ""


def schema_of(request: Generate | Choose) -> str:
    """The JSON schema that an answer is held to; "" for any text."""
    return choice_schema(request.choices) if isinstance(request, Choose) else request.schema


def first_message(request: Generate | Choose, text: str, is_constrained: bool) -> ChatMessage:
    """The message that asks. text: of the request, or what is left of it. is_constrained: whether the
    server holds the answer to the schema; else the prompt names the schema."""
    content = prompt_text(request, text)
    if isinstance(request, Choose):
        content += choices_hint(request.choices, is_constrained)
    elif request.schema and not is_constrained:
        content += f"\n\nAnswer with JSON alone, of this JSON schema: {request.schema}"
    return {"role": "user", "content": content}


def earlier_turns(request: Generate | Choose) -> list[ChatMessage]:
    """The messages of the chat before the one that asks."""
    turns = request.turns if isinstance(request, Generate) else ()
    return [{"role": role, "content": content} for role, content in turns]


def correction(answer: str, problem: str) -> list[ChatMessage]:
    """What goes on after an answer that is of no use: it, and the message that asks once more."""
    again = (
        f"That answer cannot be used: {problem}. Answer again, in the form that was asked for and with nothing else."
    )
    return [{"role": "assistant", "content": answer}, {"role": "user", "content": again}]


def chat_body(
    source: RemoteSource, request: Generate | Choose, messages: list[ChatMessage], abilities: Abilities
) -> dict[str, Any]:
    """The body of a request: what the user set, and what the model takes."""
    parameters, schema = parameters_of(request), schema_of(request)
    names = [field.name for field in fields(parameters) if field.name not in _NEVER]
    body = {name: getattr(parameters, name) for name in names if getattr(parameters, name) is not None}
    for name, value in list(body.items()):
        if name in _EXTRAS and not value:
            del body[name]
        elif name == "stop":
            body[name] = list(value)
    if "max_tokens" in body and not abilities.takes("max_tokens"):
        body["max_completion_tokens"] = body.pop("max_tokens")
    if "temperature" not in body and abilities.takes("temperature"):
        body["temperature"] = 0
    if schema and abilities.takes("response_format", schema):
        form = {"name": "answer", "schema": json.loads(schema), "strict": abilities.takes("strict", schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if isinstance(request, Choose) and abilities.takes("logprobs"):
        body |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
    return {"model": source.model, "messages": messages, **body}


def optional_parameters(request: Generate | Choose, body: Mapping[str, Any]) -> dict[str, str]:
    """What a request may do without, in the order in which it is given up, with the value that is refused."""
    optional = {}
    if "max_tokens" in body:
        optional["max_tokens"] = ""
    if parameters_of(request).temperature is None and "temperature" in body:
        optional["temperature"] = ""
    if "logprobs" in body:
        optional["logprobs"] = ""
    if "response_format" in body:
        schema = schema_of(request)
        optional |= {"strict": schema} if body["response_format"]["json_schema"]["strict"] else {}
        optional["response_format"] = schema
    return optional


def read_answer(content: Mapping[str, Any]) -> Answer:
    """What the body of an answer says. Raises BadAnswer."""
    choices = content.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise BadAnswer("the server's answer has no choices[0].message", is_retryable=True)
    text, reason = _text_of(message.get("content")), choice.get("finish_reason")
    if reason == "error" or choice.get("error"):
        raise BadAnswer(f"the server ended the answer with an error: {choice.get('error')}", is_retryable=True)
    if message.get("refusal"):
        raise BadAnswer(f"the model refused: {message['refusal']}")
    if reason == "content_filter":
        raise BadAnswer("the server's content filter ended the answer")
    if reason == "length" and not (text or "").strip():
        raise BadAnswer("max_tokens were used up before the answer began; raise max_tokens")
    if text is None and message.get("tool_calls"):
        raise BadAnswer("the model called a tool in place of an answer")
    if text is None:
        raise BadAnswer("the answer has no text (its content is null)", is_retryable=True)
    text = _THINKING.sub("", text, count=1) if text.lstrip().startswith("<think>") else text
    return Answer(text, "length" if reason == "length" else "stop", _tokens_of(choice.get("logprobs")))


def _text_of(content: Any) -> str | None:
    """A text, or the texts of a list of parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else None


def _tokens_of(logprobs: Any) -> TokenProbabilities:
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    tokens = []
    try:
        for entry in entries or ():
            others = {str(other["token"]): float(other["logprob"]) for other in entry.get("top_logprobs") or ()}
            tokens.append((str(entry["token"]), {**others, str(entry["token"]): float(entry["logprob"])}))
    except (TypeError, KeyError, ValueError, AttributeError):  # of no form that is known
        return ()
    return tokens
