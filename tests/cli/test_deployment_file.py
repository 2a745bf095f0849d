"""`sqlinfer models register --from deployment.yml`: a cloud batch deployment as a registered version."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

import sqlinfer
from sqlinfer.store import Store
from tests.cli.conftest import Invoke, last_json

HEAD = """
$schema: https://azuremlschemas.azureedge.net/latest/modelBatchDeployment.schema.json
name: small
description: Summaries of bills.
endpoint_name: bills
type: model
model: {path: ./model}
tags: {team: law}
environment: {image: "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04", conda_file: conda.yml}
compute: azureml:gpu-cluster
resources: {instance_count: 2}
"""
SETTINGS = """
max_concurrency_per_instance: 1
mini_batch_size: 10
output_action: append_row
output_file_name: predictions.csv
retry_settings: {max_retries: 1, timeout: 3000}
error_threshold: -1
logging_level: info
environment_variables: {HYPER_PARAMS: '{"max_length": 60, "top_k": 5}'}
"""
NESTED = f"{HEAD}settings:\n{indent(SETTINGS, '  ')}"
Deploy = Callable[..., Any]


@pytest.fixture
def deploy(home: Path, echo_folder: Path, tmp_path: Path, invoke: Invoke) -> Deploy:
    """Register from a YAML text beside a model folder; the facts that the command prints, or its error."""
    shutil.copytree(echo_folder, tmp_path / "cloud" / "model")

    def register(text: str, *words: str, code: int = 0) -> Any:
        file = tmp_path / "cloud" / "deployment.yml"
        file.write_text(text)
        result = invoke("models", "register", *words, "--from", str(file), "--json", code=code)
        return " ".join(result.stderr.split()) if code else last_json(result)

    return register


@pytest.mark.parametrize("text", [NESTED, HEAD + SETTINGS], ids=["settings", "flat"])
def test_a_deployment_is_a_version_of_its_endpoint_under_its_own_alias(deploy: Deploy, home: Path, text: str) -> None:
    facts = deploy(text)
    assert (facts["name"], facts["version"], facts["aliases"]) == ("bills", 1, {"small": 1})
    assert (facts["description"], facts["tags"]) == ("Summaries of bills.", {"team": "law"})
    with Store(home) as store:
        assert store.registry.get("bills@small").settings == {
            "max_concurrency_per_instance": 1,
            "mini_batch_size": 10,
            "error_threshold": -1,
            "logging_level": "info",
            "max_retries": 1,
            "timeout": 3000.0,
            "environment": {"HYPER_PARAMS": '{"max_length": 60, "top_k": 5}'},
        }


def test_what_has_no_place_in_a_registration_is_named_with_the_reason(deploy: Deploy, invoke: Invoke) -> None:
    facts = deploy(NESTED + "  mini_batch_sze: 3\nproperties: {a: 1}\nendpoint: x\n")
    assert list(facts["unused"]) == [
        "environment", "compute", "resources", "properties", "output_action", "output_file_name", "endpoint",
        "settings.mini_batch_sze",
    ]  # fmt: skip
    assert facts["unused"]["output_file_name"].endswith("COPY (SELECT ..) TO 'predictions.csv'")
    assert "Did you mean mini_batch_size" in facts["unused"]["settings.mini_batch_sze"]
    assert "Did you mean endpoint_name" in facts["unused"]["endpoint"]
    shown = invoke("models", "register", "--from", "../cloud/deployment.yml").stdout
    assert "bills@small is this version\nNot taken into the registration:\n" in shown


def test_arguments_and_options_win_over_the_file(deploy: Deploy, echo_folder: Path, home: Path) -> None:
    words = ("--set", "timeout=5", "--set", "max_tokens=9", "--tag", "team=news", "--description", "Mine.")
    facts = deploy(NESTED, "news", str(echo_folder), *words)
    assert (facts["name"], facts["source"], facts["tags"]) == ("news", str(echo_folder), {"team": "news"})
    assert (facts["description"], facts["parameters"]) == ("Mine.", {"max_tokens": 9})
    assert deploy(NESTED, "--name", "other")["name"] == "other"
    with Store(home) as store:
        assert store.registry.get("news").settings["timeout"] == 5
        assert store.registry.get("news").settings["mini_batch_size"] == 10


@pytest.mark.parametrize(
    "model",
    ["azureml:bart:3", "azureml:bart@latest", "azureml:bart", "azureml://registries/azureml/models/bart/versions/7"],
)
def test_a_model_of_a_workspace_is_the_one_that_is_registered_here(
    deploy: Deploy, echo_folder: Path, home: Path, model: str
) -> None:
    text = NESTED.replace("{path: ./model}", model)
    refused = deploy(text, code=1)
    assert "model bart lies in a workspace" in refused
    assert "sqlinfer models register bills ./bart --from" in refused
    with Store(home) as store:
        store.registry.register("bart", str(echo_folder))
    assert deploy(text)["source"] == str(echo_folder)


@pytest.mark.parametrize("name", ["default", "previous", "7th"])
def test_a_deployments_name_never_deploys_it(deploy: Deploy, name: str) -> None:
    facts = deploy(NESTED.replace("name: small", f"name: {name}"))
    assert facts["aliases"] == {}
    assert "name" in facts["unused"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NESTED.replace("type: model", "type: pipeline"), "type 'pipeline' deploys no model"),
        (NESTED.replace("model: {path: ./model}", ""), "model must be a path, azureml:NAME:VERSION"),
        (NESTED.replace("./model", "./modl"), "There is no folder"),
        (NESTED.replace("./model", "azureml://datastores/d/paths/m"), "lies in a workspace. Download it"),
        (NESTED.replace("error_threshold: -1", "error_threshold: few"), "deployment.yml: error_threshold must be"),
        (NESTED + "mini_batch_size: 3\n", "mini_batch_size stands at the top and below settings"),
        (NESTED.replace("retry_settings: {max_retries: 1, timeout: 3000}", "retry_settings: 3"), "retry_settings must"),
        (NESTED + "code_configuration: {code: code, scoring_script: run.py}", "code_configuration: there is no file"),
        ("- a\n- b", "expected names and values"),
        ("name: bills\nauth_mode: aad_token", "is the file of an endpoint"),
        ("model: ./model", "has no endpoint_name"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_is_wrong(deploy: Deploy, text: str, message: str) -> None:
    assert message in deploy(text, code=1)


def test_a_model_that_runs_by_itself_needs_no_script(deploy: Deploy, tmp_path: Path) -> None:
    (tmp_path / "cloud" / "run.py").write_text("")
    facts = deploy(NESTED + "code_configuration: {code: ., scoring_script: run.py}")
    assert "add --returns TYPE --trust" in facts["unused"]["code_configuration"]


def test_a_scoring_script_scores_files_with_the_model_beside_it(deploy: Deploy, tmp_path: Path, home: Path) -> None:
    cloud = tmp_path / "cloud"
    shutil.rmtree(cloud / "model")
    (cloud / "model").mkdir()
    (cloud / "model" / "factor.txt").write_text("3")
    (cloud / "code").mkdir()
    (cloud / "code" / "driver.py").write_text(
        "import os\n"
        "def init():\n"
        "    global factor\n"
        "    with open(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'model', 'factor.txt')) as file:\n"
        "        factor = int(file.read())\n"
        "def run(mini_batch):\n"
        "    return [factor * len(open(path).read()) for path in mini_batch]\n"
    )
    text = NESTED + "code_configuration: {code: ./code, scoring_script: driver.py}"
    assert "add --trust" in deploy(text, code=1)
    assert deploy(text, "--trust", "--returns", "INTEGER", "--input", "VARCHAR")["trusted"]
    for name in ("a", "bb"):
        (tmp_path / f"{name}.txt").write_text(name)
    with sqlinfer.connect() as con:
        rows = con.execute(
            f"SELECT parse_filename(file), ai_predict('bills', file) FROM glob('{tmp_path}/*.txt') ORDER BY file"
        ).fetchall()
    assert rows == [("a.txt", 3), ("bb.txt", 6)]
