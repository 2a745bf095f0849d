"""What a script would ask, without asking it: probe phase 1 and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlinfer.engine.pool import count_prompt_tokens
from sqlinfer.errors import SqlinferError
from sqlinfer.sql.pending import Origin, Pending
from sqlinfer.sql.session import Session
from sqlinfer.types import ModelVersion

_SAMPLE = 200
_UNKNOWN_SPEED = (200.0, 20.0)
"""Prompt and completion tokens a second of a model that was never measured here: a small model on a CPU."""
_UNKNOWN_ANSWER_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Call:
    """What one function asks one model version. prompt_tokens: counted on a sample of at most 200 requests."""

    function: str
    model: str
    requests: int
    prompt_tokens: int
    max_completion_tokens: int
    est_seconds: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a script would ask. requests: distinct ones; known: those with an answer already. measured: whether
    est_seconds comes from the model's speed in earlier jobs here, or from a guess."""

    rows: int
    requests: int
    known: int
    prompt_tokens: int
    est_seconds: float
    measured: bool
    calls: tuple[Call, ...]
