"""Errors that pass through DuckDB: it keeps their text alone, we kept the error. No secret leaves with one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from sqlinfer.errors import Interrupted, SqlinferError
from sqlinfer.redact import redact
from sqlinfer.sql.internal_names import SITE
from sqlinfer.sql.udf.evaluator import CallEvaluator

DatabaseError = duckdb.Error
"""The root of DuckDB's errors, for floors that do not know DuckDB."""

_AI_SCHEMA = re.compile(r'column "ai" not found|does not exist!.*\bai ?\. ?\w+ ?\(', re.IGNORECASE | re.DOTALL)
_OWN_PARAMETER = f", {SITE} := NULL"
"""What DuckDB shows of our macros, and users have no need of."""
_TO_CALL = "To call functions as BigQuery does, AI.IF(..): SET sqlinfer_ai_schema = true"


@contextmanager
def translated(evaluator: CallEvaluator) -> Iterator[None]:
    """Raise the error that a function of ours raised, in place of DuckDB's error about it, with *** for secrets."""
    try:
        yield
    except SqlinferError as error:
        _redact(error)
        raise
    except (duckdb.Error, RuntimeError, OSError) as error:  # OSError: DuckDB's errors in mid-stream
        cause = evaluator.statement.take_cause()
        is_ours = cause is not None and str(cause).strip().partition("\n")[0] in str(error)
        _redact(error)
        if cause is not None and is_ours:
            _redact(cause)
            raise cause from None
        if evaluator.runner.cancel.is_set() and "interrupt" in str(error).lower():
            raise Interrupted from None
        if "Query interrupted" in str(error):  # what a signal in the main thread becomes
            raise KeyboardInterrupt from None
        if _OWN_PARAMETER in str(error):
            error.args = (str(error).replace(_OWN_PARAMETER, ""),)
        if _AI_SCHEMA.search(str(error)):
            error.args = (f"{error}\n\n{_TO_CALL}",)
        raise


def _redact(error: BaseException | None) -> None:
    """Take secrets out of an error's text, and out of the errors behind it, which a traceback shows too."""
    while error is not None:
        text = str(error)
        if (safe := redact(text)) != text:
            error.args = (safe,)
        error = error.__cause__ or error.__context__
