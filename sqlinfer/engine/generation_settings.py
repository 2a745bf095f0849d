"""The sampling parameters of one answer, resolved from request, registration and model; knows no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any

from sqlinfer.types import AnyRequest, Generate, Parameters, Task

DEFAULT_MAX_TOKENS = 256
PROCESSED = (
    "repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "sequence_bias",
    "bad_words_ids",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "exponential_decay_length_penalty",
    "stop_strings",
)
BEAMED = ("length_penalty", "early_stopping")
RESOLVED = (
    *("max_new_tokens", "max_length", "min_new_tokens", "min_length", "num_beams", "do_sample", "temperature"),
    *("top_p", "top_k", "eos_token_id", "bos_token_id", "pad_token_id", "decoder_start_token_id"),
)
"""What becomes a field of GenerationSettings, or of the prompt."""
HARMLESS = (
    *("_*", "transformers_version", "output_*", "return_dict*", "use_*", "*cache*", "*compile*", "low_memory"),
    *("*assistant*", "*lookbehind", "*lookup*", "speculation*", "max_matching*", "prefill_*", "continuous_batching*"),
)
"""What changes the speed of transformers' generate, or what it returns, and no answer."""
NEUTRAL: tuple[Any, ...] = (None, False, 0, 1, [], {})
TASK_NAMES: Mapping[Task, str] = {"summarize": "summarization"}


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How one answer is generated, with no parameter left open."""

    max_tokens: int
    """Tokens of the output, at most."""
    min_tokens: int
    """Tokens of the output before one of eos may come."""
    temperature: float
    """0 is greedy."""
    top_p: float
    """Share of the probability from which a token is sampled."""
    top_k: int
    """Tokens from which one is sampled; 0 is all."""
    num_beams: int
    """Beams of a beam search; 1 is none."""
    seed: int
    """Of the random numbers; the same seed and prompt give the same sample."""
    stop: tuple[str, ...]
    """Texts before which the answer ends."""
    eos: frozenset[int]
    """Token ids that end the answer."""
    model: Mapping[str, Any]
    """Settings that a request cannot change (length_penalty, no_repeat_ngram_size, ...), as transformers names them."""


def constrained_settings(settings: GenerationSettings, requested: Parameters) -> GenerationSettings:
    """Settings of an answer that must satisfy a schema: one beam, and an end where the schema has one.

    Raises ValueError for beams that the request itself asks for.
    """
    if (requested.num_beams or 1) > 1:
        raise ValueError(f"num_beams is {requested.num_beams}, and beam search cannot follow a schema; leave it out")
    return replace(settings, min_tokens=0, num_beams=1, stop=(), model={})


def check_logprobs(request: AnyRequest, settings: GenerationSettings) -> None:
    """Raise ValueError for log-probabilities of tokens that are not chosen one by one."""
    if isinstance(request, Generate) and request.num_logprobs is not None:
        if request.schema:
            raise ValueError("tokens that a schema forces have no log-probabilities; leave out one of the two")
        if settings.num_beams > 1:
            raise ValueError(f"tokens of {settings.num_beams} beams have no log-probabilities; set num_beams to 1")


def disregarded(generation: Mapping[str, Any]) -> list[str]:
    """The settings of a generation_config.json that would change answers in transformers' generate, and do not here."""
    known = (*PROCESSED, *BEAMED, *RESOLVED)
    return [
        f"{name} = {value}"
        for name, value in generation.items()
        if name not in known and value not in NEUTRAL and not any(fnmatch(name, pattern) for pattern in HARMLESS)
    ]


class Defaults:
    """The model's own defaults: its generation_config.json and its configuration's task parameters."""

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
        """generation_config.json as a mapping."""
        self.tasks = tasks
        """The configuration's task_specific_params."""
        self.eos = eos
        """Token ids that end an answer."""
        self.context = context
        """Tokens that the decoder can hold; None if the model sets no bound."""
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
        model_settings = self.of_task(task)
        _validate(parameters)
        temperature = parameters.temperature or 0.0
        max_tokens = self._max_tokens(parameters, model_settings)
        return GenerationSettings(
            max_tokens=max_tokens,
            min_tokens=self._min_tokens(parameters, model_settings, max_tokens),
            temperature=temperature,
            top_p=_first(parameters.top_p, model_settings.get("top_p"), 1.0),
            top_k=_first(parameters.top_k, model_settings.get("top_k"), 0),
            num_beams=self._num_beams(parameters, model_settings, temperature),
            seed=parameters.seed or 0,
            stop=tuple(s for s in parameters.stop or () if s),
            eos=self.eos,
            model={k: model_settings[k] for k in (*PROCESSED, *BEAMED) if model_settings.get(k) is not None},
        )

    def _max_tokens(self, parameters: Parameters, model_settings: Mapping[str, Any]) -> int:
        if parameters.max_tokens is not None:
            return parameters.max_tokens
        model = model_settings.get("max_new_tokens")
        if model is None and self.is_encoder_decoder and model_settings.get("max_length") is not None:
            model = model_settings["max_length"] - 1  # counts the start token too
        chosen = int(model or DEFAULT_MAX_TOKENS)
        return chosen if self.context is None else max(1, min(chosen, self.context // 2))

    def _min_tokens(self, parameters: Parameters, model_settings: Mapping[str, Any], max_tokens: int) -> int:
        if parameters.min_tokens is not None:
            return parameters.min_tokens
        model = model_settings.get("min_new_tokens")
        if model is None and self.is_encoder_decoder:
            model = (model_settings.get("min_length") or 0) - 1
        return max(0, min(int(model or 0), max_tokens))

    def _num_beams(self, parameters: Parameters, model_settings: Mapping[str, Any], temperature: float) -> int:
        num_beams = parameters.num_beams
        if num_beams is not None and num_beams > 1:
            if not self.is_encoder_decoder:
                problem = "beam search needs an encoder-decoder model"
                raise ValueError(f"num_beams is {num_beams}, and {problem}; leave it out")
            if temperature > 0:
                raise ValueError(f"num_beams is {num_beams} and temperature is {temperature}; set one of the two")
        if not self.is_encoder_decoder or temperature > 0:
            return 1
        return int(_first(num_beams, model_settings.get("num_beams"), 1))


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
