"""The way to an MLflow server: its address, how long it is waited for, and what its errors mean."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlinfer.config.folders import PROJECT_FILE, project_folder
from sqlinfer.config.project_file import MlflowSettings, read_project_file
from sqlinfer.errors import SqlinferError, first_line
from sqlinfer.redact import redact

EXTRA = 'pip install "sqlinfer[mlflow]"'
_VARIABLES = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # MLflow itself tries for minutes to reach a server that is down
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where rows go
}
"""Of the environment while MLflow is used, unless the user has set them."""


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
    uri = os.environ.get("MLFLOW_TRACKING_URI") or settings().tracking_uri or _local_uri(mlflow.get_tracking_uri())
    variables = {name: value for name, value in _VARIABLES.items() if name not in os.environ}
    os.environ.update(variables)
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield mlflow.MlflowClient(uri, registry_uri(uri))
    except MlflowException as error:
        raise SqlinferError(
            f"MLflow at {redact(uri)}: {redact(first_line(error))}. To use another server: set MLFLOW_TRACKING_URI"
        ) from error
    except ModuleNotFoundError as error:
        raise SqlinferError(f"MLflow needs {error.name} for {redact(uri)}: pip install {error.name}") from error
    finally:
        logger.setLevel(level)
        for name in variables:
            os.environ.pop(name, None)


def registry_uri(tracking_uri: str) -> str:
    """Where the registry of models is: MLFLOW_REGISTRY_URI, else the server of runs."""
    return os.environ.get("MLFLOW_REGISTRY_URI") or tracking_uri


def _local_uri(uri: str) -> str:
    """MLflow's default, a file or folder here, if it is there: nothing is made by looking for it."""
    if Path(uri.removeprefix("sqlite:///").removeprefix("file://")).exists():
        return uri
    raise SqlinferError(
        "No MLflow server is named. Set MLFLOW_TRACKING_URI, or tracking_uri below mlflow in sqlinfer.yml"
    )


def is_missing(error: Exception) -> bool:
    """Whether MLflow says that it has no such thing."""
    return getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
