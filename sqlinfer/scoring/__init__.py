"""Models that worker processes score: a Python script's code, or a library, runs in processes of its own, never in the
one of DuckDB."""

from sqlinfer.scoring.engine import ScoringEngine, open_scorer
from sqlinfer.scoring.output_log import logging_output
from sqlinfer.scoring.probe import probe_scorer
from sqlinfer.scoring.process import SCORING_OUTPUT
from sqlinfer.scoring.registration import read_scorer

__all__ = ["SCORING_OUTPUT", "ScoringEngine", "logging_output", "open_scorer", "probe_scorer", "read_scorer"]
