"""What crosses the borders between the floors: requests, completions, model versions.

Knows nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NewType, Protocol, TypeVar

Overflow = Literal["truncate", "error", "split"]
Task = Literal["generate", "summarize", "count_tokens", "embed", "predict"]
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")
FinishReason = Literal["stop", "length", "error"]
Float = NewType("Float", float)
"""A number of 32 bits, as embeddings have them: SQL's FLOAT, where float is DOUBLE."""

Vector = NewType("Vector", list[Float])
"""An embedding: SQL's FLOAT[n] with the model's n, and FLOAT[] where that is not known before it is asked."""


Columns = NewType("Columns", str)
"""A text, or a struct of columns: one that the call lets reorder (reorder := true) comes as a JSON object."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How an answer is generated; None leaves the choice to the model's registration, then to the model.

    max_tokens, min_tokens: new tokens, at most and at least. temperature: 0 is greedy. top_p: 0..1.
    top_k: number of tokens, 0 is all. num_beams: encoder-decoder models only. stop: texts that end the
    answer and are cut from it.
    """

    max_tokens: int | None = None
    min_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    num_beams: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None

    def over(self, defaults: Parameters) -> Parameters:
        """These parameters, with what they leave open taken from defaults."""
        if self == _UNSET:
            return defaults
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return Parameters(**{k: getattr(defaults, k) if v is None else v for k, v in mine.items()})


_UNSET = Parameters()


@dataclass(frozen=True, slots=True)
class Request:
    """One question for a model.

    text: the row's own part. instruction: the part that rows share; it stands before the text for models
    that follow instructions, and models trained for one task do without it. task: what is asked, so that
    such a model finds its own prefix ("summarize: "). overflow: what happens to a text that is longer
    than the model's context; "split" asks where to cut it, and no model runs. request_id: names the answer;
    whoever sends the request chooses it.
    choices: the answers that are possible, most often labels; they are scored after one pass over the prompt, and the
    answer's text is a JSON object of each choice and its probability. schema: a JSON schema that the answer's text
    must satisfy; decoding is constrained to it. Choices made by yes_or_no are about one label each.
    reorder: the text is a JSON object, and its fields may stand in another order, in which more prompts begin alike.
    query: what the text is held against; a model trained on pairs reads it and the bare text, and its score is the
    probability of the first of two choices.
    """

    text: str
    instruction: str = ""
    task: Task = "generate"
    parameters: Parameters = Parameters()
    overflow: Overflow = "error"
    choices: tuple[str, ...] = ()
    schema: str = ""
    query: str = ""
    reorder: bool = False
    request_id: bytes = field(default=b"", compare=False)

    @property
    def is_generated(self) -> bool:
        """Whether weights are needed to answer."""
        return self.task != "count_tokens" and self.overflow != "split"


def yes_or_no(label: str) -> tuple[str, str]:
    """The two choices that ask whether a label fits, whatever the other labels: a classifier reads the label there.

    >>> yes_or_no("late")
    ('late: yes', 'late: no')
    """
    return f"{label}: yes", f"{label}: no"


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer to one request: text, or an error and no text.

    prompt_tokens, completion_tokens: counts of the model's tokens. truncated: the text was cut to fit.
    For the task "count_tokens" the text is the count of the request's own text in decimal digits; for "embed" the
    embedding's 32-bit floats, little-endian, in base64; for "predict" a JSON object of each label and its probability;
    for the overflow "split" a JSON list of the places, in characters, where to cut the text so that each part fits.
    is_retryable: asking again may help, as the error came from the machine and not from the request.
    """

    request_id: bytes
    text: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: FinishReason = "stop"
    truncated: bool = False
    error: str | None = None
    is_retryable: bool = False


class Answer(str):
    """The text of an answer as a function that asks in steps gets it; completion: how it came about."""

    completion: Completion

    @classmethod
    def of(cls, completion: Completion) -> Answer:
        answer = cls(completion.text)
        answer.completion = completion
        return answer


Value = TypeVar("Value")
Steps = Generator[Request | list[Request], Any, Value]
"""What a function returns that asks in steps: it yields a request, or a list of them, gets the Answer, or the list of
them, back, and returns its value."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Weights under a name; never changes once registered.

    source: hub id or folder as the user gave it. revision: commit of the hub's repository, pinned. path:
    the folder with the files. task: "" (whatever the model says), "generate", "summarize" or "embed". dtype: "auto",
    "float32", "bfloat16" or "float16". parameters: defaults of its calls. fingerprint: hash of weights,
    tokenizer, configuration and of what the registration adds. settings: of the jobs that ask it (JobSettings).
    """

    name: str
    version: int
    source: str
    path: Path
    fingerprint: str
    revision: str | None = None
    task: str = ""
    dtype: str = "auto"
    parameters: Parameters = Parameters()
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    trusted: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}/{self.version}" if self.version else self.name


class Engine(Protocol):
    """Answers requests with one model version."""

    def generate(self, requests: Iterable[Request], cancel: Any = None) -> Iterator[Completion]:
        """Yield one completion a request, in order of finishing; a bad request is an error of its own.

        cancel: a threading.Event; once set, the iterator ends within a step, unfinished requests unanswered.
        """
        ...
