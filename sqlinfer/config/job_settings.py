"""The settings of a job, their meaning and bounds, and the one place where they are merged.

Names are those of cloud batch endpoints. Knows no model, no SQL and no command line; each of these gives a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sqlinfer.errors import SqlinferError, nearest

OUTPUT_ACTIONS = ("append_row", "replace", "fail_if_exists", "summary_only")
LOGGING_LEVELS = ("debug", "info", "warning", "error", "critical")
OF_STATEMENTS = ("output_action", "ai_schema")
"""Settings that a model's registration cannot hold: they are about a statement."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    """The settings of one job.

    max_retries: number of retries of a request after a transient failure.
    timeout: seconds within which a batch must complete an answer; None: no limit.
    error_threshold: failed requests beyond which the job stops, a number or a percentage ("5%"); -1: never.
    logging_level: of Python's logger "sqlinfer"; None leaves it as it is.
    environment: environment variables while a model is loaded and runs.
    mini_batch_size: rows that a scoring script gets at a time; the engine sizes its batches by tokens.
    max_concurrency_per_instance: worker processes of a scoring script.
    cached: whether results of a model that worker processes score are kept; None: those of scripts alone.
    output_action: what becomes of an existing table or file; None leaves it to the statement.
    max_in_flight, requests_per_minute, tokens_per_minute: of a model behind an address; None: as its server bears.
    max_requests, max_prompt_tokens, max_completion_tokens, max_seconds: the job's budget; None: no limit.
    max_cost: the job's budget in US dollars; None: no limit.
    max_pairs: requests of a function over two tables; None: no limit.
    ai_schema: whether SQL may say AI.IF(..) for ai_if(..).
    """

    max_retries: int = 3
    timeout: float | None = None
    error_threshold: int | str = -1
    logging_level: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    mini_batch_size: int | None = None
    max_concurrency_per_instance: int = 1
    cached: bool | None = None
    output_action: str | None = None
    max_in_flight: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_requests: int | None = None
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_seconds: float | None = None
    max_cost: float | None = None
    max_pairs: int | None = 100_000
    ai_schema: bool = False

    def within_error_threshold(self, num_failed: int, num_requests: int) -> bool:
        """Whether the job goes on after so many failures of so many requests."""
        if isinstance(self.error_threshold, str):
            return num_failed <= float(self.error_threshold.rstrip("%")) / 100 * num_requests
        return self.error_threshold < 0 or num_failed <= self.error_threshold


NAMES = tuple(f.name for f in fields(JobSettings))


class SettingsLayers:
    """The settings of a session in layers, from the lowest precedence to the highest: a model's registration, the
    project file, the command line, SET. They are merged anew for each model."""

    def __init__(self, project: Mapping[str, Any] | None = None, command_line: Mapping[str, Any] | None = None) -> None:
        self._layers: list[dict[str, Any]] = [dict(project or {}), dict(command_line or {}), {}]

    def set(self, name: str, value: Any) -> None:
        """Set a setting in the layer of highest precedence."""
        self._layers[-1] |= read_settings({name: value}, f"SET sqlinfer_{name}")

    def reset(self, name: str) -> None:
        """Undo set."""
        _check_name(name, "RESET")
        self._layers[-1].pop(name, None)

    def over(self, registration: Mapping[str, Any] | None = None) -> JobSettings:
        """The settings for a model with these in its registration. Variables of environment are merged by name."""
        merged: dict[str, Any] = {}
        for layer in (registration or {}, *self._layers):
            environment = {**merged.get("environment", {}), **layer.get("environment", {})}
            merged = {**merged, **layer, "environment": environment}
        return JobSettings(**merged)

    def as_record(self) -> dict[str, Any]:
        """The settings of project, command line and SET, for the record of a job.

        Variables of environment stand there by name alone, as their values may be secret.
        """
        merged = {name: value for layer in self._layers for name, value in layer.items()}
        if "environment" in merged:
            merged["environment"] = sorted({n for layer in self._layers for n in layer.get("environment", {})})
        return merged


def read_settings(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check settings given as texts or values; an error names where, the setting and the value."""
    read = {}
    for name, value in values.items():
        _check_name(name, where)
        wanted, reader = _READERS[name]
        try:
            read[name] = reader(value)
        except (TypeError, ValueError, AttributeError):
            raise SqlinferError(f"{where}: {name} must be {wanted}, not {value!r}") from None
    return read


def read_registration(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check the settings of a model's registration."""
    for name in OF_STATEMENTS:
        if name in values:
            raise SqlinferError(
                f"{where}: {name} applies to a statement, not to a model. Use: SET sqlinfer_{name} = .."
            )
    return read_settings(values, where)


def _check_name(name: str, where: str) -> None:
    if name not in NAMES:
        raise SqlinferError(f"{where}: there is no setting {name}. {nearest(name, NAMES)}")


def _count(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = int(value) if isinstance(value, str) else value
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise ValueError
        return number

    return read


def _bound(value: Any) -> int | None:
    number = _count(-1)(value)
    return None if number == -1 else number


def _rate(value: Any) -> int | None:
    number = _bound(value)
    if number == 0:
        raise ValueError
    return number


def _flag(value: Any) -> bool:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def _seconds(value: Any) -> float | None:
    number = float(value)
    if isinstance(value, bool) or (number != -1 and not 0 < number < float("inf")):
        raise ValueError
    return None if number == -1 else number


def _dollars(value: Any) -> float | None:
    number = float(value)
    if isinstance(value, bool) or (number != -1 and not 0 <= number < float("inf")):
        raise ValueError
    return None if number == -1 else number


def _threshold(value: Any) -> int | str:
    if isinstance(value, str) and value.strip().endswith("%"):
        if not 0 <= float(value.strip().rstrip("%")) <= 100:
            raise ValueError
        return value.strip()
    return _count(-1)(value)


def _one_of(*known: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value.lower() not in known:
            raise ValueError
        return str(value.lower())

    return read


def _variables(value: Any) -> dict[str, str]:
    """A mapping, or a text of NAME=VALUE pairs with commas between them."""
    pairs = value.items() if isinstance(value, Mapping) else (pair.split("=", 1) for pair in value.split(",") if pair)
    variables = {str(name).strip(): str(text) for name, text in pairs}
    if any(not name or "\0" in name + text for name, text in variables.items()):
        raise ValueError
    return variables


_BOUND = ("a whole number of at least 0, or -1 for no limit", _bound)
_RATE = ("a whole number of at least 1, or -1 for no limit", _rate)
_SECONDS = ("a number of seconds above 0, or -1 for no limit", _seconds)
_READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "max_retries": ("a whole number of at least 0", _count(0)),
    "timeout": _SECONDS,
    "error_threshold": ("a number of requests, a percentage from 0% to 100%, or -1 for no limit", _threshold),
    "logging_level": (f"one of {', '.join(LOGGING_LEVELS)}", _one_of(*LOGGING_LEVELS)),
    "environment": ("variables as NAME=VALUE", _variables),
    "max_concurrency_per_instance": ("a whole number of at least 1", _count(1)),
    "mini_batch_size": ("a whole number of at least 1", _count(1)),
    "output_action": (f"one of {', '.join(OUTPUT_ACTIONS)}", _one_of(*OUTPUT_ACTIONS)),
    "max_in_flight": _RATE,
    "requests_per_minute": _RATE,
    "tokens_per_minute": _RATE,
    "max_requests": _BOUND,
    "max_prompt_tokens": _BOUND,
    "max_completion_tokens": _BOUND,
    "max_seconds": _SECONDS,
    "max_cost": ("a number of US dollars of at least 0, or -1 for no limit", _dollars),
    "max_pairs": _BOUND,
    "ai_schema": ("true or false", _flag),
    "cached": ("true or false", _flag),
}
