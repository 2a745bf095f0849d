"""Requests in, completions out, one model version at a time; knows no SQL and no DuckDB.

The one door to the engine: other packages import from here only. It loads neither torch nor transformers.
"""

from __future__ import annotations

from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.engine.engine_pool import (
    close_all,
    count_prompt_tokens,
    embedding_width,
    get_engine,
    open_engine,
    read_prompt,
    unsupported_reason,
)
from sqlinfer.engine.generation_settings import disregarded
from sqlinfer.engine.input.grammar import compile_schema
from sqlinfer.engine.model.builtin import BUILTINS, DEFAULTS, WEIGHTS
from sqlinfer.engine.model.device import peak_memory
from sqlinfer.engine.model.memory_estimate import MemoryEstimate, estimate_memory
from sqlinfer.text_splitter import split_points

__all__ = [
    "BUILTINS",
    "DEFAULTS",
    "WEIGHTS",
    "MemoryEstimate",
    "TransformersEngine",
    "close_all",
    "compile_schema",
    "count_prompt_tokens",
    "disregarded",
    "embedding_width",
    "estimate_memory",
    "get_engine",
    "open_engine",
    "peak_memory",
    "read_prompt",
    "split_points",
    "unsupported_reason",
]
