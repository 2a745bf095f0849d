"""A job as a run of MLflow: parameters, counts, seconds, and the model versions that it used."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sqlinfer.errors import describe
from sqlinfer.mlflow.client import open_client, settings
from sqlinfer.store import JobRecord, Registry, Store
from sqlinfer.store.names import parse_reference
from sqlinfer.types import ModelVersion

_METRICS = (
    *("rows", "requests", "known", "generated", "failed"),
    *("prompt_tokens", "completion_tokens", "cost", "seconds"),
)
_MOST_CHARACTERS = 5000
"""Of a tag or a parameter: what the servers of MLflow take."""
_STATUS = {"done": "FINISHED", "interrupted": "KILLED"}
_log = logging.getLogger("sqlinfer")


def record_job(store: Store, job_id: int | None) -> bool:
    """Record a job that has ended as a run of MLflow; a server that cannot be reached costs a warning, and is False."""
    if job_id is None:
        return True
    try:
        with open_client() as client:
            _record(client, store, store.jobs.show(job_id))
        return True
    except Exception as error:  # noqa: BLE001 - a job never fails for its record
        _log.warning("job %s is not recorded in MLflow: %s", job_id, describe(error))
        return False


def experiment_id(client: Any) -> str:
    """The experiment of MLFLOW_EXPERIMENT_NAME, else of the project file, else MLflow's default one; it is made if it
    is not there."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or settings().experiment or "Default"
    experiment = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if experiment is None else experiment.experiment_id)


def _record(client: Any, store: Store, job: JobRecord) -> None:
    from mlflow.entities import Metric, Param

    versions = list(_versions(store.registry, job))
    ended_ms = int((job.ended or time.time()) * 1000)
    tags = {
        "sqlinfer.job": str(job.job_id),
        "sqlinfer.state": job.state,
        "sqlinfer.statement": job.statement,
        "sqlinfer.models": ", ".join(job.models),
        "sqlinfer.written": json.dumps(dict(job.written)) if job.written else "",
        "sqlinfer.error": job.error or "",
    }
    run = client.create_run(
        experiment_id(client),
        start_time=int(job.started * 1000),
        run_name=job.source or f"job {job.job_id}",
        tags={name: value[:_MOST_CHARACTERS] for name, value in tags.items() if value},
    )
    metrics = {name: getattr(job, name) for name in _METRICS}
    client.log_batch(
        run.info.run_id,
        [Metric(name, value, ended_ms, 0) for name, value in metrics.items()],
        [Param(name, value[:_MOST_CHARACTERS]) for name, value in _parameters(job, versions).items()],
    )
    _log_models(client, run.info.run_id, versions)
    client.set_terminated(run.info.run_id, _STATUS.get(job.state, "FAILED"), ended_ms)


def _versions(registry: Registry, job: JobRecord) -> Iterator[ModelVersion]:
    """The registered versions among a job's models."""
    registered = {model.name for model in registry.list() if model.version}
    for reference in map(parse_reference, job.models):
        if reference.name in registered:
            yield from (v for v in registry.versions(reference.name) if v.version == reference.version)


def _parameters(job: JobRecord, versions: list[ModelVersion]) -> dict[str, str]:
    """The settings of a job, and how its models generate where calls say nothing."""
    parameters = {name: value for name, value in job.settings.items() if value not in (None, "", [], {}, False)}
    for version in versions:
        defaults = asdict(version.parameters)
        parameters |= {f"{version}.{name}": value for name, value in defaults.items() if value is not None}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}


def _log_models(client: Any, run_id: str, versions: list[ModelVersion]) -> None:
    """Note the models that MLflow has too as inputs of a run."""
    from mlflow import entities

    ids = [version.revision for version in versions if (version.revision or "").startswith("m-")]
    if ids and hasattr(entities, "LoggedModelInput"):
        client.log_inputs(run_id, models=[entities.LoggedModelInput(model_id) for model_id in ids])
