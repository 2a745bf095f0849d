"""Choices: how a model is asked for one, which one an answer is, and how probable each is. Knows no network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlinfer.types import Probabilities, yes_or_no

_ANSWER = "answer"
_YES_OR_NO = ("yes", "no")
Tokens = Sequence[tuple[str, Mapping[str, float]]]


def labels_of(choices: tuple[str, ...]) -> tuple[str, ...]:
    """The labels, if the choices are those of yes_or_no: each is a question of its own; else nothing.

    >>> labels_of(("late: yes", "late: no"))
    ('late',)
    """
    labels = tuple(choice.removesuffix(": yes") for choice in choices[::2])
    return labels if tuple(choice for label in labels for choice in yes_or_no(label)) == choices else ()


@lru_cache(maxsize=256)
def choice_schema(choices: tuple[str, ...]) -> str:
    """The JSON schema of an answer: an object, as servers want one, of one choice, or of a yes or no for each label."""
    questions = {label: list(_YES_OR_NO) for label in labels_of(choices)} or {_ANSWER: list(choices)}
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "enum": values} for name, values in questions.items()},
        "required": list(questions),
        "additionalProperties": False,
    }
    return json.dumps(schema, ensure_ascii=False)


def choices_hint(choices: tuple[str, ...], is_constrained: bool) -> str:
    """What the prompt adds on the form of the answer."""
    if labels := labels_of(choices):
        form = ", ".join(f"{json.dumps(label, ensure_ascii=False)}: ..." for label in labels)
        return f'\n\nAnswer with this JSON alone, "yes" or "no" for each: {{{form}}}'
    if is_constrained:
        return f'\n\nThe answer is JSON: {{"{_ANSWER}": ...}}'
    listed = ", ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
    return f"\n\nAnswer with exactly one of these and nothing else: {listed}"


def read_choices(choices: tuple[str, ...], text: str, tokens: Tokens = ()) -> Probabilities:
    """The probability of each choice. Without tokens the chosen one has all of it. Raises ValueError for an answer that
    is none of the choices."""
    answer = _json_of(text)
    if labels := labels_of(choices):
        if len(labels) == 1 and not isinstance(answer, dict):
            answer = {labels[0]: text.strip().removeprefix(f"{labels[0]}:")}
        given = answer if isinstance(answer, dict) else {}
        missing = [label for label in labels if label not in given]
        if missing:
            raise ValueError(f"it says neither yes nor no of {missing[0]!r}: {text[:60]!r}")
        pairs = zip(labels, (_shares(_YES_OR_NO, given[label], text, tokens, label) for label in labels), strict=True)
        return Probabilities({f"{label}: {word}": shares[word] for label, shares in pairs for word in _YES_OR_NO})
    value = answer.get(_ANSWER, answer) if isinstance(answer, dict) else text.strip()
    return Probabilities(_shares(choices, value, text, tokens, _ANSWER if isinstance(answer, dict) else None))


def _shares(choices: Sequence[str], value: Any, text: str, tokens: Tokens, field: str | None) -> dict[str, float]:
    """The probability of each choice of one question. field: that of the JSON with the value; None: the text is it."""
    chosen = _match(choices, value)
    weights = _weights(choices, str(value), text, tokens, field) if tokens else {}
    total = sum(weights.values())
    if not total or max(weights, key=weights.__getitem__) != chosen:  # greedy, and yet another one: no use of them
        return {choice: float(choice == chosen) for choice in choices}
    return {choice: weights[choice] / total for choice in choices}


def _match(choices: Sequence[str], value: Any) -> str:
    """The choice that a value is: exactly, else the only one that is equal after normalising."""
    if value in choices:
        return str(value)
    equal = [choice for choice in choices if _normalised(choice) == _normalised(str(value))]
    if len(equal) != 1:
        listed = ", ".join(map(repr, choices[:8])) + (", .." if len(choices) > 8 else "")
        raise ValueError(f"{str(value)[:60]!r} is none of {listed}")
    return equal[0]


def _normalised(text: str) -> str:
    return " ".join(text.strip().strip("\"'`*.").split()).casefold()


def _weights(choices: Sequence[str], value: str, text: str, tokens: Tokens, field: str | None) -> dict[str, float]:
    """How probable it was that the answer read as it does with each choice in place of the value: the probability of
    the tokens up to where the two part, times that of the tokens that go on with the choice there."""
    written = "".join(token for token, _ in tokens).casefold()
    offset, start = written.find(text.casefold()), _value_start(text.casefold(), value.casefold(), field)
    if offset < 0 or start < 0:
        return {}
    begin, end = offset + start, offset + start + len(value.casefold())
    readings = {choice: written[:begin] + choice.casefold() + written[end:] for choice in choices}
    weights = dict.fromkeys(choices, 0.0)
    path, so_far, still_possible = 0.0, "", list(choices)
    for token, logprobs in tokens:
        for other, logprob in logprobs.items():
            going_on = [choice for choice in still_possible if readings[choice].startswith(so_far + other.casefold())]
            if other != token and len(going_on) < len(still_possible):  # others are the same text in other tokens
                for choice in going_on:
                    weights[choice] += math.exp(path + logprob) / len(going_on)
        so_far += token.casefold()
        path += logprobs[token]
        still_possible = [choice for choice in still_possible if readings[choice].startswith(so_far)]
        if len(still_possible) <= 1:
            break
    written_out = [choice for choice in still_possible if readings[choice] == written] or still_possible
    for choice in written_out:
        weights[choice] += math.exp(path) / len(written_out)
    return weights


def _value_start(text: str, value: str, field: str | None) -> int:
    """Where the value stands in the answer; -1 if it stands there otherwise, as with escapes."""
    if field is None:
        return text.find(value)
    name = json.dumps(field, ensure_ascii=False).casefold()
    key = text.find(name)
    return -1 if key < 0 else text.find(value, key + len(name))


def _json_of(text: str) -> Any:
    """The JSON of an answer, also between the fences of Markdown; None if it is none."""
    try:
        return json.loads(unfenced(text))
    except (ValueError, RecursionError):
        return None


def unfenced(text: str) -> str:
    """A text without the fences of Markdown around it.

    >>> unfenced("```json\\n{}\\n```")
    '{}'
    """
    stripped = text.strip()
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        return stripped.partition("\n")[2].removesuffix("```").strip()
    return stripped
