"""A tracking server of MLflow on SQLite in a process of its own, and a summarizer that is logged in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", GIT_PYTHON_REFRESH="quiet")
INFERENCE = {"max_new_tokens": 12, "min_new_tokens": 3, "length_penalty": 0.5, "batch_size": 8, "temperature": 0.5}
_SERVE = """
from mlflow.server import app
from mlflow.server.handlers import initialize_backend_stores
from werkzeug.serving import make_server
import os
initialize_backend_stores(os.environ["_MLFLOW_SERVER_FILE_STORE"])
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server; it starts while a test imports its libraries."""
    folder = tmp_path_factory.mktemp("mlflow")
    database = f"sqlite:///{folder / 'mlflow.db'}"
    environment = {
        **os.environ,
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    import mlflow

    assert process.stdout is not None
    port = process.stdout.readline().strip()
    assert port, (folder / "log").read_text()
    uri = f"http://127.0.0.1:{port}"
    mlflow.set_tracking_uri(uri)
    yield uri
    process.kill()
    process.wait()


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's own client of the server, which MLFLOW_TRACKING_URI names."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return mlflow.MlflowClient(server)


@pytest.fixture(scope="session")
def summarizer(server: str) -> str:
    """The URI of a run's model: the tiny summarizer, logged with its signature and inference config."""
    import mlflow
    from mlflow.models import infer_signature
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, TextGenerationPipeline

    from sqlinfer.engine import WEIGHTS

    folder = Path(WEIGHTS) / "tiny-summarizer"
    pipeline = TextGenerationPipeline(
        AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), task="summarization"
    )  # transformers 5 has no pipeline of its own for the task; MLflow saves the parts of any
    with mlflow.start_run() as run:
        mlflow.transformers.log_model(
            pipeline,
            name="summarizer",
            task="summarization",
            signature=infer_signature("a text", "a summary", params={"num_beams": 2}),
            model_config=INFERENCE,
            pip_requirements=["transformers"],
        )
    return f"runs:/{run.info.run_id}/summarizer"
