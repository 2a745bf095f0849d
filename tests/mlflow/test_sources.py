"""MLflow models as sources: what a URI means now is registered, and stays."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sqlinfer.errors import ModelNotFound, ModelUnusable, SqlinferError
from sqlinfer.mlflow import register_model
from sqlinfer.mlflow.export_folder import write_mlflow_folder
from sqlinfer.types import ModelVersion, Parameters
from tests.mlflow.conftest import TINY


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """The folder of an MLflow model of the transformers flavor."""
    folder = tmp_path / "logged"
    folder.mkdir()
    return write_mlflow_folder(ModelVersion("tiny", 0, str(TINY), TINY, "", task="summarize"), folder)


def edit(folder: Path, **changes: Any) -> None:
    """Change the MLmodel file of a folder."""
    file = folder / "MLmodel"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changes}))


def flavors(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "MLmodel").read_text())["flavors"])


@pytest.mark.parametrize(
    ("written", "number", "max_tokens"),
    [("models:/short/1", 1, 12), ("models:/short@champion", 1, 12), ("models:/short/latest", 2, 20)],
)
def test_a_uri_is_pinned_to_the_version_that_it_means(
    registry: Any, client: Any, short: str, written: str, number: int, max_tokens: int
) -> None:
    version = register_model(registry, "s", written)
    assert version.source == f"models:/short/{number}"
    assert version.revision == client.get_model_version("short", str(number)).run_id
    assert version.parameters.max_tokens == max_tokens


def test_a_registered_version_stays_when_its_alias_moves(registry: Any, client: Any, short: str) -> None:
    version = register_model(registry, "s", "models:/short@champion")
    client.set_registered_model_alias("short", "champion", "2")
    try:
        assert registry.get("s") == version
        assert register_model(registry, "s", "models:/short@champion").version == 2
    finally:
        client.set_registered_model_alias("short", "champion", "1")


def test_a_model_of_a_run_is_a_source(registry: Any, client: Any, short: str) -> None:
    run_id = client.get_model_version("short", "1").run_id
    version = register_model(registry, "s", f"runs:/{run_id}/model")
    assert (version.source, version.revision) == (f"runs:/{run_id}/model", run_id)


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("models:/shord/1", "Did you mean short?"),
        ("models:/short/9", "It has versions 1, 2 and aliases champion=1"),
        ("models:/short/Production", "It has versions 1, 2"),
        ("models:/short@champ", "Did you mean champion?"),
        ("models:/short", "models:/NAME/latest"),
        ("models:/m-0123", "no logged model m-0123"),
        ("runs:/0123/model", "no run '0123'. Known: "),
        ("runs:/RUN/modell", "Did you mean model?"),
    ],
)
def test_a_model_that_mlflow_has_not_names_what_it_has(
    registry: Any, client: Any, short: str, uri: str, hint: str
) -> None:
    run_id = client.get_model_version("short", "1").run_id
    with pytest.raises(ModelNotFound, match=hint.replace("?", r"\?")):
        register_model(registry, "s", uri.replace("RUN", run_id))


def test_a_server_that_is_down_is_named(registry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SqlinferError, match=r"MLflow at http://127\.0\.0\.1:9: .* set MLFLOW_TRACKING_URI"):
        register_model(registry, "s", "models:/short/1")


def test_without_a_server_the_variable_is_named_and_nothing_is_made(
    registry: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    with pytest.raises(SqlinferError, match="Set MLFLOW_TRACKING_URI, or tracking_uri below mlflow"):
        register_model(registry, "s", "models:/short/1")
    assert {path for path in tmp_path.iterdir() if path.name != "home"} == before - {tmp_path / "home"}


def test_without_the_extra_its_install_command_is_named(registry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SqlinferError, match=r'pip install "sqlinfer\[mlflow\]"'):
        register_model(registry, "s", "models:/short/1")


def test_a_copy_that_is_gone_is_named_with_the_command_that_makes_it_again(
    registry: Any, client: Any, short: str
) -> None:
    shutil.rmtree(register_model(registry, "s", "models:/short/1").path)
    with pytest.raises(ModelUnusable, match="sqlinfer models register s models:/short/1"):
        registry.get("s")
    register_model(registry, "s", "models:/short/1")
    assert registry.get("s").version == 1


def test_a_folder_of_mlflow_is_read_where_it_lies(registry: Any, logged: Path) -> None:
    edit(logged, model_id="m-1")
    version = register_model(registry, "s", str(logged))
    assert (version.source, version.revision, version.task) == (str(logged), "m-1", "summarize")
    assert (version.path / "model.safetensors").samefile(TINY / "model.safetensors")
    assert (version.path / "tokenizer.json").samefile(TINY / "tokenizer.json")


@pytest.mark.parametrize(
    ("logs", "parameters", "ignored"),
    [
        (({"max_new_tokens": 9}, {}), Parameters(max_tokens=9), ""),
        (({"max_new_tokens": 9}, {"max_new_tokens": 5}), Parameters(max_tokens=5), ""),
        (({"max_length": 9, "min_length": 3}, {}), Parameters(max_tokens=8, min_tokens=2), ""),
        (({"temperature": 0.5, "top_k": 4}, {}), Parameters(top_k=4), ""),
        (({"do_sample": True, "top_p": 0.9}, {}), Parameters(temperature=1.0, top_p=0.9), ""),
        (({"do_sample": True, "num_beams": 4}, {"temperature": 0.5}), Parameters(temperature=0.5), "num_beams = 4"),
        (({"batch_size": 8}, {"n": 3}), Parameters(), "batch_size = 8, n = 3"),
    ],
)
def test_the_logged_inference_config_is_the_default_of_calls(
    registry: Any, logged: Path, caplog: pytest.LogCaptureFixture, logs: Any, parameters: Any, ignored: str
) -> None:
    config, params = logs
    pyfunc = {**flavors(logged)["python_function"], "config": config}
    specs = [{"name": name, "default": value, "type": "long", "shape": None} for name, value in params.items()]
    edit(logged, flavors={**flavors(logged), "python_function": pyfunc}, signature={"params": json.dumps(specs)})
    assert register_model(registry, "s", str(logged)).parameters == parameters
    assert ignored in caplog.text
    assert bool(caplog.text) == bool(ignored)


def test_a_logged_setting_that_no_call_can_change_stands_in_the_model_s_files(registry: Any, logged: Path) -> None:
    config = json.loads((TINY / "config.json").read_text())
    config["task_specific_params"] = {"summarization": {"length_penalty": 2.0, "prefix": "sum: "}}
    (logged / "model" / "config.json").unlink()
    (logged / "model" / "config.json").write_text(json.dumps(config))
    pyfunc = {**flavors(logged)["python_function"], "config": {"length_penalty": 0.5}}
    edit(logged, flavors={**flavors(logged), "python_function": pyfunc})
    path = register_model(registry, "s", str(logged)).path
    assert json.loads((path / "generation_config.json").read_text())["length_penalty"] == 0.5
    assert json.loads((path / "config.json").read_text())["task_specific_params"] == {
        "summarization": {"prefix": "sum: "}
    }
    assert json.loads((logged / "model" / "config.json").read_text()) == config


def test_a_registration_stands_above_the_logged_config(registry: Any, logged: Path) -> None:
    pyfunc = {**flavors(logged)["python_function"], "config": {"max_new_tokens": 9, "num_beams": 2}}
    edit(logged, flavors={**flavors(logged), "python_function": pyfunc})
    version = register_model(registry, "s", str(logged), parameters=Parameters(max_tokens=4), task="generate")
    assert (version.parameters, version.task) == (Parameters(max_tokens=4, num_beams=2), "generate")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"flavors": {"spacy": {"spacy_version": "3"}}}, "flavors spacy, which cannot run here"),
        ({"flavors": {}}, "flavors none"),
        ({"flavors": ["spacy"]}, "is not what MLflow writes"),
        ({"flavors": {"transformers": {"source_model_name": "org/m", "source_model_revision": "abc"}}},
         "sqlinfer models register NAME org/m --revision abc"),
        ({"flavors": {"transformers": {"peft_adaptor": "peft"}}}, "PEFT adapter"),
        ({"flavors": {"transformers": {"model_binary": "../home"}}}, "lies outside of the model's folder"),
        ({"signature": {"params": "{"}}, "is not what MLflow writes"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_run_says_why(registry: Any, logged: Path, changes: Any, problem: str) -> None:
    edit(logged, **changes)
    with pytest.raises(ModelUnusable, match=problem):
        register_model(registry, "s", str(logged))


def test_a_file_that_is_no_mlmodel_is_named(registry: Any, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("- a\n: {")
    with pytest.raises(ModelUnusable, match=f"{tmp_path / 'MLmodel'} is not what MLflow writes"):
        register_model(registry, "s", str(tmp_path))


def test_artifacts_that_are_no_model_are_named(registry: Any, client: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("n")
    run = client.create_run("0")
    client.log_artifact(run.info.run_id, str(file), "notes")
    with pytest.raises(ModelUnusable, match=r"no file MLmodel\. It holds notes\.txt"):
        register_model(registry, "s", f"runs:/{run.info.run_id}/notes")


def test_sql_names_the_command_that_registers_a_model_of_mlflow(registry: Any, logged: Path) -> None:
    for written in ("models:/short@champion", str(logged)):
        with pytest.raises(SqlinferError, match=f"sqlinfer models register NAME {written}"):
            registry.get(written)


def test_pickled_weights_of_mlflow_need_trust(registry: Any, logged: Path) -> None:
    (logged / "model" / "model.safetensors").rename(logged / "model" / "pytorch_model.bin")
    with pytest.raises(ModelUnusable, match="--trust"):
        register_model(registry, "s", str(logged))
    assert not list(registry.models_folder.glob("[!.]*"))
    assert register_model(registry, "s", str(logged), trust=True).trusted
