"""Texts that are longer than a model reads: a request a part, then one on their answers, until one answer is left.

Knows no instruction of its own: the function files bring theirs.
"""

from __future__ import annotations

from dataclasses import replace

from sqlinfer.types import Cuts, Generate, SplitText, Steps, Text


def whole(request: Generate) -> Steps[Text]:
    """Ask one request: the steps of a function that asks in parts when it must, and this way when it need not."""
    answer: Text = yield request
    return answer


def each_part(request: Generate) -> Steps[list[Text]]:
    """Ask a request about each part of its text that the model can read, or once if all of it fits: the answers in the
    order of the parts. The engine says where to cut: at the ends of paragraphs or sentences."""
    text = request.text.strip()
    cuts: Cuts = yield SplitText(text, request.instruction, request.task, request.schema, parameters=request.parameters)
    parts = [text[a:b].strip() for a, b in zip((0, *cuts), (*cuts, len(text)), strict=True)]
    read = [part for part in parts if part] or [""]
    answers: list[Text] = yield [replace(request, text=part, overflow="error") for part in read]
    return answers


def in_parts(request: Generate, again: str = "") -> Steps[Text]:
    """Ask a request whatever the length of its text, for functions that ask in steps: `return (yield from ..)`.

    A text that fits is asked whole. Else each part of it is asked, and the answers together are the next text. again:
    the instruction for those; the request's own if it is empty. Raises ValueError if the answers are no shorter than
    what they answer.
    """
    while True:
        answers = yield from each_part(request)
        if len(answers) == 1:
            return answers[0]
        together = "\n\n".join(answer.strip() for answer in answers if answer.strip())
        if len(together) >= len(request.text.strip()):
            raise ValueError(
                f"the answers for its {len(answers)} parts have {len(together)} characters, the text "
                f"{len(request.text)}: ask for shorter answers (max_tokens) or take a model that reads longer texts"
            )
        request = replace(request, text=together, instruction=again or request.instruction)
