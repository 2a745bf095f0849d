"""Models that are a Python script: its code runs in processes of its own, never in the one of DuckDB."""

from sqlinfer.scoring.engine import ScriptEngine, open_script
from sqlinfer.scoring.output_log import logging_output
from sqlinfer.scoring.process import SCORING_OUTPUT
from sqlinfer.scoring.values import read_script

__all__ = ["SCORING_OUTPUT", "ScriptEngine", "logging_output", "open_script", "read_script"]
