"""How one answer is generated, after request, registration and model have had their say; knows no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlinfer.types import Parameters, Task

DEFAULT_MAX_TOKENS = 256
PROCESSED = (
    "repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
)
BEAMED = ("length_penalty", "early_stopping")
TASK_NAMES: Mapping[Task, str] = {"summarize": "summarization"}


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """Every choice made: nothing is open any more.

    temperature: 0 is greedy. top_k: 0 is all. eos: ids that end the answer. model: the model's own settings
    that a request cannot change (length_penalty, no_repeat_ngram_size, ...), as transformers names them.
    """

    max_tokens: int
    min_tokens: int
    temperature: float
    top_p: float
    top_k: int
    num_beams: int
    seed: int
    stop: tuple[str, ...]
    eos: frozenset[int]
    model: Mapping[str, Any]


def constrained_settings(settings: GenerationSettings, asked: Parameters) -> GenerationSettings:
    """Settings of an answer that must satisfy a schema: one line, and an end where the schema has one.

    Raises ValueError for beams that the request itself asks for.
    """
    if (asked.num_beams or 1) > 1:
        raise ValueError(f"num_beams is {asked.num_beams}, and an answer to a schema has no beams; leave it out")
    return replace(settings, min_tokens=0, num_beams=1, stop=(), model={})


class Defaults:
    """What a model brings along: its generation_config.json and its configuration's task parameters.

    generation: generation_config.json as a mapping. tasks: the configuration's task_specific_params. eos: ids
    that end an answer. context: tokens that the decoder can hold; None if the model sets no bound.
    """

    def __init__(
        self,
        generation: Mapping[str, Any],
        tasks: Mapping[str, Mapping[str, Any]],
        *,
        eos: frozenset[int],
        context: int | None,
        is_encoder_decoder: bool,
    ) -> None:
        self.generation = generation
        self.tasks = tasks
        self.eos = eos
        self.context = context
        self.is_encoder_decoder = is_encoder_decoder

    def of_task(self, task: Task) -> dict[str, Any]:
        """The model's own settings for a task, in transformers' names."""
        return {**self.generation, **self.tasks.get(TASK_NAMES.get(task, task), {})}

    def prefix(self, task: Task) -> str | None:
        """What the model was trained to see before a text; None if it knows no such task."""
        params = self.tasks.get(TASK_NAMES.get(task, task))
        return None if params is None else str(params.get("prefix") or "")

    def resolve(self, parameters: Parameters, task: Task) -> GenerationSettings:
        """Fill what parameters leave open. Raises ValueError for a value out of range."""
        own = self.of_task(task)
        _validate(parameters)
        temperature = parameters.temperature or 0.0
        max_tokens = self._max_tokens(parameters, own)
        return GenerationSettings(
            max_tokens=max_tokens,
            min_tokens=self._min_tokens(parameters, own, max_tokens),
            temperature=temperature,
            top_p=_first(parameters.top_p, own.get("top_p"), 1.0),
            top_k=_first(parameters.top_k, own.get("top_k"), 0),
            num_beams=self._num_beams(parameters, own, temperature),
            seed=parameters.seed or 0,
            stop=tuple(s for s in parameters.stop or () if s),
            eos=self.eos,
            model={k: own[k] for k in (*PROCESSED, *BEAMED) if own.get(k) is not None},
        )

    def _max_tokens(self, parameters: Parameters, own: Mapping[str, Any]) -> int:
        if parameters.max_tokens is not None:
            return parameters.max_tokens
        model = own.get("max_new_tokens")
        if model is None and self.is_encoder_decoder and own.get("max_length") is not None:
            model = own["max_length"] - 1  # counts the start token too
        chosen = int(model or DEFAULT_MAX_TOKENS)
        return chosen if self.context is None else max(1, min(chosen, self.context // 2))

    def _min_tokens(self, parameters: Parameters, own: Mapping[str, Any], max_tokens: int) -> int:
        if parameters.min_tokens is not None:
            return parameters.min_tokens
        model = own.get("min_new_tokens")
        if model is None and self.is_encoder_decoder:
            model = (own.get("min_length") or 0) - 1
        return max(0, min(int(model or 0), max_tokens))

    def _num_beams(self, parameters: Parameters, own: Mapping[str, Any], temperature: float) -> int:
        asked = parameters.num_beams
        if asked is not None and asked > 1:
            if not self.is_encoder_decoder:
                raise ValueError(f"num_beams is {asked}, and beam search needs an encoder-decoder model; leave it out")
            if temperature > 0:
                raise ValueError(f"num_beams is {asked} and temperature is {temperature}; set one of the two")
        if not self.is_encoder_decoder or temperature > 0:
            return 1
        return int(_first(asked, own.get("num_beams"), 1))


def _first(*values: Any) -> Any:
    return next(v for v in values if v is not None)


def _validate(parameters: Parameters) -> None:
    """Raises ValueError that names the first parameter out of range."""
    p = parameters
    bounds = (
        ("max_tokens", p.max_tokens, p.max_tokens is None or p.max_tokens >= 1, "1 or more"),
        ("min_tokens", p.min_tokens, p.min_tokens is None or p.min_tokens >= 0, "0 or more"),
        ("temperature", p.temperature, p.temperature is None or 0 <= p.temperature < float("inf"), "0 or more"),
        ("top_p", p.top_p, p.top_p is None or 0 < p.top_p <= 1, "above 0 and at most 1"),
        ("top_k", p.top_k, p.top_k is None or p.top_k >= 0, "0 or more"),
        ("num_beams", p.num_beams, p.num_beams is None or p.num_beams >= 1, "1 or more"),
        ("seed", p.seed, p.seed is None or abs(p.seed) < 2**63, "a 64-bit integer"),
    )
    for name, value, is_good, wanted in bounds:
        if not is_good:
            raise ValueError(f"{name} is {value}; it must be {wanted}")
