"""Texts that are longer than a model reads: asked in parts, then about the answers, until one answer is left.

Knows no instruction of its own: the function files bring theirs.
"""

from __future__ import annotations

import json
from dataclasses import replace

from sqlinfer.types import Answer, Request, Steps


def whole(asked: Request) -> Steps[Answer]:
    """Ask one request: the steps of a function that asks in parts when it must, and this way when it need not."""
    answer: Answer = yield asked
    return answer


def each_part(asked: Request) -> Steps[list[Answer]]:
    """Ask a request about each part of its text that the model can read, or once if all of it fits: the answers in the
    order of the parts. The engine says where to cut: at the ends of paragraphs or sentences."""
    text = asked.text.strip()
    places = json.loads((yield replace(asked, text=text, overflow="split")))
    parts = [text[a:b].strip() for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    read = [part for part in parts if part] or [""]
    answers: list[Answer] = yield [replace(asked, text=part, overflow="error") for part in read]
    return answers


def in_parts(asked: Request, again: str = "") -> Steps[Answer]:
    """Ask a request whatever the length of its text, for functions that ask in steps: `return (yield from ..)`.

    A text that fits is asked whole. Else each part of it is asked, and the answers together are the next text. again:
    the instruction for those; the request's own if it is empty. Raises ValueError if the answers are no shorter than
    what they answer.
    """
    while True:
        answers = yield from each_part(asked)
        if len(answers) == 1:
            return answers[0]
        together = "\n\n".join(answer.strip() for answer in answers if answer.strip())
        if len(together) >= len(asked.text.strip()):
            raise ValueError(
                f"the answers for its {len(answers)} parts have {len(together)} characters, the text "
                f"{len(asked.text)}: ask for shorter answers (max_tokens) or take a model that reads longer texts"
            )
        asked = replace(asked, text=together, instruction=again or asked.instruction)
