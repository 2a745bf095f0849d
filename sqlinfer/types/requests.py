"""Requests, their outputs and completions, and the Engine that turns the one into the other.

Knows nothing but the standard library.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeVar

from sqlinfer.types.model_version import ModelVersion, Parameters
from sqlinfer.types.pieces import Piece, TokenLogprob
from sqlinfer.types.values import AnyValue, describe_blobs

Overflow = Literal["truncate", "error"]
Task = Literal["", "generate", "summarize", "embed"]
"""What a default model is chosen for, "" for anything; models are registered for one, too."""

FinishReason = Literal["stop", "length", "error", "cancelled"]


def _never() -> bool:
    return False


if TYPE_CHECKING:
    _FloatArray = array[float]
else:
    _FloatArray = array  # Python 3.11 does not take the brackets


class Output:
    """What a model gave for a request; each kind of request has its own, a subclass of the natural Python type."""

    completion: Completion
    """How it came about; set on the outputs that a function in steps gets."""

    def with_completion(self, completion: Completion) -> Self:
        """The output, which knows now how it came about."""
        self.completion = completion
        return self


class Text(Output, str):
    """What a model wrote."""


class Probabilities(Output, dict[str, float]):
    """The probability of each choice or label, 0..1, in the order in which the request or the model names them."""

    @property
    def best(self) -> str:
        """The most probable; the first of those that are equally probable."""
        return max(self, key=self.__getitem__)


class Embedding(Output, _FloatArray):
    """A vector of 32-bit floats; numpy.asarray reads it without a copy. In a signature, SQL's FLOAT[n] with the n of
    the model.

    >>> Embedding([1.0, -0.5]).tolist()
    [1.0, -0.5]
    """

    def __new__(cls, values: Iterable[float] | bytes = ()) -> Self:
        """values: the floats, or their bytes in this machine's order."""
        return super().__new__(cls, "f", values)  # type: ignore[return-value]  # of this class


class Count(Output, int):
    """A number of tokens."""


class Json(Output, str):
    """A value of any SQL type, as JSON."""


class Cuts(Output, tuple[int, ...]):
    """Where to cut a text, in characters; empty if all of it fits."""


@dataclass(frozen=True, slots=True)
class _ModelRequest:
    """What all requests have."""

    text: str
    """The row's own part."""
    parameters: Parameters = field(default=Parameters(), kw_only=True)
    """How the answer is generated; part of every answer's key."""
    files: tuple[bytes, ...] = field(default=(), kw_only=True, repr=False)
    """Images that the text is about; an image alone has no text."""
    key: bytes = field(default=b"", kw_only=True, compare=False)
    """Names the answer; an engine hands it back."""
    route: Any = field(default=None, kw_only=True, compare=False)
    """Its function and its model version; nothing to an engine, which hands it back."""
    is_cancelled: Callable[[], bool] = field(default=_never, kw_only=True, compare=False, repr=False)
    """Whether nobody waits for the answer any more. An engine may then end the request at any step, as cancelled."""

    needs_text: ClassVar[bool] = True
    """Whether a blank text, as NULL, has no answer."""
    needs_weights: ClassVar[bool] = True
    """Whether a model runs to answer it; a tokenizer is enough else."""
    is_decoded: ClassVar[bool] = False
    """Whether the answer is decoded token by token."""

    @property
    def excerpt(self) -> str:
        """The row's own part for people."""
        return self.text or describe_blobs(self.files)


@dataclass(frozen=True, slots=True)
class Generate(_ModelRequest):
    """Asks for a text."""

    instruction: str = ""
    """The part that rows share: it stands before the text, but for models that are trained for the task."""
    task: Task = "generate"
    """Which default model answers, and which prefix a model trained for a task wants ("summarize: ")."""
    overflow: Overflow = "error"
    """What happens to a text that is longer than the model's context."""
    schema: str = ""
    """A JSON schema that constrains decoding: the answer satisfies it."""
    languages: tuple[str, ...] = ()
    """Of a translation: the language of the answer, with that of the text before it if it is known. A model trained to
    translate reads them by its own prefix; the instruction names them for others."""
    reorder: bool = False
    """The text is a JSON object whose fields may be reordered, so that more prompts share a prefix."""
    turns: tuple[tuple[str, str], ...] = ()
    """The chat before the text, each turn with its role: "system", "user" or "assistant"."""
    is_prompt: bool = False
    """The text is the whole prompt: no chat template and no prefix of a task goes around it."""
    num_logprobs: int | None = field(default=None, kw_only=True, compare=False)
    """How many of the likeliest tokens the completion has for each of its tokens, with their log-probabilities."""
    on_piece: Callable[[Piece], None] | None = field(default=None, kw_only=True, compare=False, repr=False)
    """Called in a thread of the engine while the answer is written. The pieces are the beginning of the answer: the
    completion has all of it. It must not raise."""

    output_type: ClassVar = Text
    is_decoded: ClassVar[bool] = True


Request = Generate
"""The short name, for authors of functions: most of them ask for a text."""


@dataclass(frozen=True, slots=True)
class Choose(_ModelRequest):
    """Asks for the probability of each of the possible answers; they are scored after one pass over the prompt.

    Choices made by yes_or_no are about one label each.
    """

    choices: tuple[str, ...]
    """The possible answers, most often labels."""
    instruction: str = ""
    """As of Generate."""
    query: str = ""
    """What the text is held against: a model trained on pairs reads it and the bare text, and its score is the
    probability of the first of two choices."""
    overflow: Overflow = "error"
    """As of Generate."""

    task: ClassVar[Task] = "generate"
    output_type: ClassVar = Probabilities


@dataclass(frozen=True, slots=True)
class Embed(_ModelRequest):
    """Asks for the embedding of a text, or of an image."""

    overflow: Overflow = "error"
    """As of Generate."""

    task: ClassVar[Task] = "embed"
    output_type: ClassVar = Embedding


@dataclass(frozen=True, slots=True)
class Classify(_ModelRequest):
    """Asks a classifier of texts or images for the probability of each of its labels."""

    overflow: Overflow = "error"
    """As of Generate."""

    task: ClassVar[Task] = ""
    output_type: ClassVar = Probabilities


@dataclass(frozen=True, slots=True)
class Predict(_ModelRequest):
    """Asks for what a model makes of a value: the result of a script, a classifier's label."""

    sql_type: str = "VARCHAR"
    """Of the value whose text it is; see AnyValue."""
    overflow: Overflow = "truncate"
    """As of Generate."""

    task: ClassVar[Task] = ""
    output_type: ClassVar = Json
    needs_text: ClassVar[bool] = False

    def for_version(self, version: ModelVersion) -> Predict | Classify:
        """The request as a version takes it: one of an engine classifies the text, or a BLOB's image."""
        if version.scorer is not None:
            return self
        files = AnyValue(f"{self.sql_type}\n{self.text}").blobs
        return Classify("" if files else self.text, self.overflow, parameters=self.parameters, files=files)


@dataclass(frozen=True, slots=True)
class CountTokens(_ModelRequest):
    """Asks for the number of the text's tokens; no weights are needed."""

    task: ClassVar[Task] = ""
    output_type: ClassVar = Count
    needs_text: ClassVar[bool] = False
    needs_weights: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class SplitText(_ModelRequest):
    """Asks where to cut a text so that a Generate with the same fields can read each part; no weights are needed."""

    instruction: str = ""
    """As of Generate."""
    task: Task = "generate"
    """As of Generate."""
    schema: str = ""
    """As of Generate."""

    output_type: ClassVar = Cuts
    needs_weights: ClassVar[bool] = False


AnyRequest = Generate | Choose | Embed | Classify | Predict | CountTokens | SplitText


def yes_or_no(label: str) -> tuple[str, str]:
    """The two choices that ask whether a label fits, whatever the other labels: a classifier reads the label there.

    >>> yes_or_no("late")
    ('late: yes', 'late: no')
    """
    return f"{label}: yes", f"{label}: no"


@dataclass(frozen=True, slots=True)
class Completion:
    """How a request ended: with an output, or with an error and none."""

    request: AnyRequest
    """The very object that the engine was given."""
    output: Output | None = None
    """Of the request's output_type."""
    prompt_tokens: int = 0
    """Tokens that the model read."""
    completion_tokens: int = 0
    """Tokens that the model decoded."""
    finish_reason: FinishReason = "stop"
    """What ended the text."""
    truncated: bool = False
    """The text was cut to fit."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the tokens, if the request asks for them; also of those that wrote a stop text."""
    error: str | None = None
    """Why there is no output."""
    cost: float | None = 0.0
    """US dollars that it cost; None if no price of the model is known."""
    snapshot: str = ""
    """What a server reports of the model that answered: its id and the fingerprint of the system."""
    is_retryable: bool = False
    """Asking again may help, as the error came from the machine and not from the request."""

    @property
    def is_cancelled(self) -> bool:
        """Whether the request was ended because nobody waited for it: it has neither output nor error."""
        return self.finish_reason == "cancelled"


Value = TypeVar("Value")
Steps = Generator[AnyRequest | Sequence[AnyRequest], Any, Value]
"""What a function in steps returns: it yields a request, or a list of them, gets the output, or the list of
outputs, back, and returns its value."""


class Cancel(Protocol):
    """Whether to end: a threading.Event, or what behaves as one."""

    def is_set(self) -> bool: ...


class Engine(Protocol):
    """Answers requests with one model version."""

    def generate(self, requests: Iterable[AnyRequest], cancel: Cancel | None = None) -> Iterator[Completion]:
        """Yield one completion a request, in order of finishing; a bad request is an error of its own.

        cancel: once set, the iterator ends within a step, unfinished requests unanswered.
        """
        ...
