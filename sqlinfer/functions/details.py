"""What happened to a row, for calls that say `details := true`: tokens, how its answer ended, whether it was cut.

A function file takes `details`, wraps its steps, and says the type in `returns`.
"""

from __future__ import annotations

from typing import Any

from sqlinfer.types import Output, Steps


def detailed(steps: Steps[Any]) -> Steps[dict[str, Any]]:
    """The value of steps and what they took: `return (yield from detailed(steps))`.

    Token counts are sums over all answers that a model gave; finish_reason is the last one's.
    """
    outputs: list[Output] = []
    answers: Any = None
    while True:
        try:
            requests = steps.send(answers)
        except StopIteration as done:
            completions = [output.completion for output in outputs]
            return {
                "value": done.value,
                "prompt_tokens": sum(completion.prompt_tokens for completion in completions),
                "completion_tokens": sum(completion.completion_tokens for completion in completions),
                "finish_reason": completions[-1].finish_reason if completions else None,
                "truncated": any(completion.truncated for completion in completions),
            }
        answers = yield requests
        request_list, answer_list = (requests, answers) if isinstance(requests, list) else ([requests], [answers])
        outputs += [output for request, output in zip(request_list, answer_list, strict=True) if request.needs_weights]


def detailed_type(value: str = "VARCHAR") -> str:
    """The SQL type of a detailed value; value: the type of the value alone."""
    return (
        f"STRUCT(value {value}, prompt_tokens INTEGER, completion_tokens INTEGER, finish_reason VARCHAR, "
        "truncated BOOLEAN)"
    )
