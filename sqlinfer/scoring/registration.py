"""How a model is scored, as its registration and its files say."""

from __future__ import annotations

from sqlinfer.errors import ModelUnusable, SqlinferError
from sqlinfer.scoring.values import read_type
from sqlinfer.types import Scorer


def read_scorer(
    source: str, *, script: str | None = None, returns: str | None = None, input_type: str = "", trust: bool = False
) -> Scorer | None:
    """How worker processes score the model of a source; None for one that an engine runs. script: its Python file.
    returns, input_type: SQL types that the registration names."""
    if script is None:
        if returns or input_type:
            raise SqlinferError(
                "returns and input are the types of a script: name its file too, as script = 'score.py'"
            )
        return None
    if not trust:
        raise ModelUnusable(f"{source} runs the Python code of {script}. If you trust it, add --trust")
    if not returns:
        raise SqlinferError(f"{script}: say the SQL type of its result, as returns = 'STRUCT(class INTEGER, p DOUBLE)'")
    return Scorer(script, read_type(returns)[0], read_type(input_type)[0] if input_type else "")
