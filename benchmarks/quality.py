"""Whether scored and constrained answers are as right as generated ones, with sqlinfer/tiny on the example texts.

Usage: python -m benchmarks quality [NUM_ROWS]. The first NUM_ROWS reviews and tickets (100) of examples/data, which no
training shows, and the true labels beside them. Each question is asked twice, in the same words: scored (or held to a
schema), and as free text, of which blanks, a full stop and the case are forgiven. Prints a table, then one line of
JSON, and fails if a scored or constrained answer is right less often.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlinfer.engine import BUILTINS, open_engine
from sqlinfer.functions import Functions, load_functions
from sqlinfer.types import AnyRequest, Generate, Parameters, Probabilities

MODEL = "sqlinfer/tiny"
DATA = Path(__file__).parents[1] / "examples" / "data"
MAX_TOKENS = {"scored": 16, "constrained": 160}
"""Of an answer: a label has a few, the longest JSON that is right has 41. Where the end is near, a schema leaves out
what is still to come, so the bound lies far from that."""
FIELDS = {"product": "product", "price": "price", "city": "city", "order number": "order"}
"""Of each field that is asked for the column that has the truth."""


@dataclass(frozen=True, slots=True)
class Task:
    """name; held: how the first of two answers is given; asked: requests; truths: of each, by field."""

    name: str
    held: str
    asked: list[Any]
    truths: list[dict[str, Any]]


def main(argv: Sequence[str]) -> None:
    """Ask everything both ways, and print."""
    num_rows = int(argv[0]) if argv else 100
    engine = open_engine(BUILTINS[MODEL])
    print(f"{MODEL}, {num_rows} texts of each kind at most\n")
    print(f"{'task':38}{'answers':>8}  {'way':12}{'right':>7}{'free text':>11}")
    found, worse = {}, []
    for task in _tasks(num_rows):
        right = [_share_right(task, _answers(engine, asked)) for asked in (task.asked, _free(task))]
        num_answers = sum(map(len, task.truths))
        print(f"{task.name:38}{num_answers:>8}  {task.held:12}{right[0]:>7.3f}{right[1]:>11.3f}", flush=True)
        found[task.name] = {"answers": num_answers, task.held: round(right[0], 4), "free": round(right[1], 4)}
        if right[0] < right[1]:
            worse.append(task.name)
    print(json.dumps(found))
    if worse:
        raise SystemExit(f"right less often than free text: {', '.join(worse)}")


def _tasks(num_rows: int) -> Iterator[Task]:
    functions = load_functions()
    reviews, tickets = _rows("reviews", "review", num_rows), _rows("tickets", "body", num_rows)

    def scored(name: str, asked: list[Any], truths: list[str]) -> Task:
        return Task(name, "scored", asked, [{"": truth} for truth in truths])

    sentiments = [_ask(functions, "ai_sentiment", text=text) for text, _ in reviews]
    yield scored("sentiment of reviews", sentiments, [row["sentiment"] for _, row in reviews])
    for name, rows, column in (("reviews", reviews, "kind"), ("tickets", tickets, "concern")):
        labels = sorted({row[column] for _, row in rows})
        asked = [_ask(functions, "ai_classify", text=text, labels=labels) for text, _ in rows]
        yield scored(f"{name} by {column}, {len(labels)} labels", asked, [row[column] for _, row in rows])
    asked, truths = [], []
    for place, (text, row) in enumerate(tickets):
        concern = tickets[place - place % 2][1]["concern"]  # a ticket's own, then that of the one before it
        asked.append(_ask(functions, "ai_filter", text=text, condition=f"it is a {concern} ticket"))
        truths.append("yes" if row["concern"] == concern else "no")
    yield scored("conditions on tickets", asked, truths)
    texts = [*reviews, *tickets]
    told = [{field: row[column] or None for field, column in FIELDS.items()} for _, row in texts]
    extracts = [_ask(functions, "ai_extract", text=text, fields=list(FIELDS)) for text, _ in texts]
    bound = Parameters(max_tokens=MAX_TOKENS["constrained"])
    asked = [replace(request, parameters=bound) for request in extracts]
    yield Task(f"extract {', '.join(FIELDS)}", "constrained", asked, told)


def _rows(name: str, column: str, num_rows: int) -> list[tuple[str, dict[str, str]]]:
    """Texts and their truths."""
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        texts = {row["id"]: row[column] for row in csv.DictReader(file)}
    with (DATA / f"{name}_labels.csv").open(encoding="utf-8", newline="") as file:
        return [(texts[row["id"]], row) for row in csv.DictReader(file)][:num_rows]


def _ask(functions: Functions, function: str, **arguments: Any) -> Any:
    """What a SQL function asks first."""
    asked = functions[function].ask(**arguments)
    first = asked if isinstance(asked, AnyRequest) else next(asked)
    return first if isinstance(first, AnyRequest) else first[0]


def _free(task: Task) -> list[Any]:
    """The same questions, answered in free text."""
    bound = Parameters(max_tokens=MAX_TOKENS[task.held])
    return [Generate(request.text, request.instruction, parameters=bound) for request in task.asked]


def _answers(engine: Any, requests: list[Any]) -> list[Any]:
    """The outputs in the order of the requests, "" for one that failed."""
    outputs = {id(completion.request): completion.output or "" for completion in engine.generate(requests)}
    return [outputs[id(request)] for request in requests]


def _share_right(task: Task, answers: list[Any]) -> float:
    right = num_answers = 0
    for answer, truth in zip(answers, task.truths, strict=True):
        said = _fields(answer) if task.held == "constrained" else {"": _label(answer)}
        right += sum(field in said and said[field] == value for field, value in truth.items())
        num_answers += len(truth)
    return right / num_answers


def _label(output: Any) -> str:
    """The likeliest choice, or what a free text says."""
    if isinstance(output, Probabilities):
        return output.best
    return str(output).strip().rstrip(".").lower()


def _fields(answer: str) -> dict[str, Any]:
    """The fields of a JSON object; none of what is no such object."""
    try:
        said = json.loads(answer)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


if __name__ == "__main__":
    main(sys.argv[1:])
