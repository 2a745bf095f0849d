"""The way to an MLflow server: its address, how long it is waited for, and what its errors mean."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlinfer.config.folders import PROJECT_FILE, project_folder
from sqlinfer.config.project_file import MlflowSettings, read_project_file
from sqlinfer.errors import SqlinferError, first_line
from sqlinfer.redact import redact

EXTRA = 'pip install "sqlinfer[mlflow]"'
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""MLflow's own defaults try for minutes to reach a server that is down."""


def settings() -> MlflowSettings:
    """What the project file says of MLflow."""
    folder = project_folder()
    return read_project_file(folder and folder / PROJECT_FILE).mlflow or MlflowSettings()


@contextmanager
def open_client() -> Iterator[Any]:
    """An MlflowClient of MLFLOW_TRACKING_URI, else of the project file's tracking_uri, else of MLflow's default; what
    it raises inside is a SqlinferError. Raises SqlinferError if MLflow is not installed."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise SqlinferError(f"MLflow is not installed: {EXTRA}") from None
    uri = os.environ.get("MLFLOW_TRACKING_URI") or settings().tracking_uri or mlflow.get_tracking_uri()
    variables = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    os.environ.update(variables)
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield mlflow.MlflowClient(uri, uri)
    except MlflowException as error:
        raise SqlinferError(
            f"MLflow at {redact(uri)}: {redact(first_line(error))}. To use another server: set MLFLOW_TRACKING_URI"
        ) from error
    finally:
        logger.setLevel(level)
        for name in variables:
            del os.environ[name]


def is_missing(error: Exception) -> bool:
    """Whether MLflow says that it has no such thing."""
    return getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
