"""Errors that pass through DuckDB: it keeps their text alone, we kept the error. No secret leaves with one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import duckdb

from sqlinfer.errors import Interrupted, SqlinferError, with_causes
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
    """Raise the error that a function of ours raised, in place of DuckDB's error about it, with *** for secrets. What
    is raised is one of DuckDB's errors in each case: code around `con.sql` catches duckdb.Error."""
    try:
        yield
    except SqlinferError as error:
        _redact(error)
        if isinstance(error, duckdb.Error):
            raise
        raise _as_duckdb_error(error) from error.__cause__
    except (duckdb.Error, RuntimeError, OSError) as error:  # OSError: DuckDB's errors in mid-stream
        cause = evaluator.statement.take_cause()
        is_ours = cause is not None and str(cause).strip().partition("\n")[0] in str(error)
        _redact(error)
        if cause is not None and is_ours:
            _redact(cause)
            raise _as_duckdb_error(cause) from None
        if evaluator.runner.cancel.is_set() and "interrupt" in str(error).lower():
            raise _as_duckdb_error(Interrupted()) from None
        if "Query interrupted" in str(error):  # what a signal in the main thread becomes
            raise KeyboardInterrupt from None
        if _OWN_PARAMETER in str(error):
            error.args = (str(error).replace(_OWN_PARAMETER, ""),)
        if _AI_SCHEMA.search(str(error)):
            error.args = (f"{error}\n\n{_TO_CALL}",)
        raise


def _as_duckdb_error(error: Exception) -> Exception:
    """An error of ours with duckdb.Error among its bases, which errors.py does without."""
    if isinstance(error, duckdb.Error) or not isinstance(error, SqlinferError):
        return error
    error_type: Any = type(error)
    raised: Exception = _with_base(error_type)(*error.args).with_traceback(error.__traceback__)
    vars(raised).update(vars(error))
    return raised


@cache
def _with_base(error_type: Any) -> Any:
    content = {name: getattr(error_type, name) for name in ("__module__", "__qualname__", "__doc__")}
    content["__reduce__"] = lambda error: (error_type, error.args)  # another process may have no DuckDB
    return type(error_type.__name__, (error_type, duckdb.Error), content)


def _redact(error: BaseException) -> None:
    """Take secrets out of an error's text, and out of the errors behind it."""
    for each in with_causes(error):
        text = str(each)
        if (safe := redact(text)) != text:
            each.args = (safe,)
