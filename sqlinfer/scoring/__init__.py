"""Models that worker processes score: a Python script's code, or a library, runs in processes of its own, never in the
one of DuckDB."""

from sqlinfer.scoring.engine import ScoringEngine
from sqlinfer.scoring.open_engines import open_scorer
from sqlinfer.scoring.output_log import logging_output
from sqlinfer.scoring.probe import probe_scorer
from sqlinfer.scoring.process import SCORING_OUTPUT, Cancelled
from sqlinfer.scoring.registration import read_scorer
from sqlinfer.scoring.row_results import RowResults
from sqlinfer.scoring.signature import extra_fields, mismatch

__all__ = [
    "SCORING_OUTPUT",
    "Cancelled",
    "RowResults",
    "ScoringEngine",
    "extra_fields",
    "logging_output",
    "mismatch",
    "open_scorer",
    "probe_scorer",
    "read_scorer",
]
