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


def in_parts(asked: Request, again: str = "") -> Steps[Answer]:
    """Ask a request whatever the length of its text, for functions that ask in steps: `return (yield from ..)`.

    A text that fits is asked whole. Else it is cut where the engine says, at the ends of paragraphs or sentences, each
    part is asked, and the answers together are the next text. again: the instruction for those; the request's own if
    it is empty. Raises ValueError if the answers are no shorter than what they answer.
    """
    asked = replace(asked, text=asked.text.strip())
    while True:
        places = json.loads((yield replace(asked, overflow="split")))
        if not places:
            answer: Answer = yield replace(asked, overflow="error")
            return answer
        text = asked.text
        parts = [text[a:b].strip() for a, b in zip([0, *places], [*places, len(text)], strict=True)]
        answers: list[Answer] = yield [replace(asked, text=part, overflow="error") for part in parts if part]
        together = "\n\n".join(answer.strip() for answer in answers if answer.strip())
        if len(together) >= len(text):
            raise ValueError(
                f"the answers for its {len(parts)} parts have {len(together)} characters, the text {len(text)}: ask "
                "for shorter answers (max_tokens) or take a model that reads longer texts"
            )
        asked = replace(asked, text=together, instruction=again or asked.instruction)
