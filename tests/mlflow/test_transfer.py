"""Models between MLflow's registry and the one here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sqlinfer.cli import main
from sqlinfer.errors import ModelUnusable
from sqlinfer.mlflow import export_model, import_model
from sqlinfer.mlflow.source import all_versions
from sqlinfer.types import Parameters, Scorer


def test_what_is_exported_comes_back_the_same(registry: Any, client: Any, short: str) -> None:
    first, second = import_model(registry, "short", "brief")
    assert (first.parameters, second.parameters) == (
        Parameters(max_tokens=12, num_beams=2),
        Parameters(max_tokens=20, num_beams=2),
    )
    exported = {version.tags["sqlinfer.fingerprint"] for version in all_versions(client, "short")}
    assert {first.fingerprint, second.fingerprint} == exported
    assert (first.task, first.description) == ("summarize", "Summaries in a sentence")
    assert (first.tags, second.tags) == ({"team": "news"}, {"team": "news", "rouge": "0.4"})
    assert registry.aliases("brief") == {"champion": 1}


def test_a_version_that_is_there_is_not_exported_again(registry: Any, client: Any, short: str) -> None:
    import_model(registry, "short")
    registry.set_alias("short", "rival", 2)
    assert export_model(registry, "short") == {"short/1": "models:/short/1", "short/2": "models:/short/2"}
    assert len(all_versions(client, "short")) == 2
    assert client.get_registered_model("short").aliases == {"champion": "1", "rival": "2"}
    client.delete_registered_model_alias("short", "rival")


def test_one_version_is_imported_by_its_uri(home: Path, client: Any, short: str) -> None:
    result = CliRunner().invoke(main, ["models", "import", "models:/short/latest", "--as", "news"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("news/1 is registered from models:/short/2: ")


def test_a_version_that_cannot_be_imported_costs_no_other(
    registry: Any, client: Any, short: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "MLmodel"
    file.write_text("flavors: {spacy: {}}")
    client.create_registered_model("mixed")
    run_id = client.get_model_version("short", "1").run_id
    client.log_artifact(run_id, str(file), "bad")
    for path in ("bad", "model"):
        client.create_model_version("mixed", f"{client.get_run(run_id).info.artifact_uri}/{path}", run_id)
    for alias in ("champion", "2nd"):
        client.set_registered_model_alias("mixed", alias, "2")
    (version,) = import_model(registry, "mixed")
    assert version.source == "models:/mixed/2"
    assert registry.aliases("mixed") == {"champion": 1}
    assert "version 1 of mixed is left out: " in caplog.text
    assert "alias 2nd of mixed is left out: '2nd' is not a valid alias" in caplog.text
    client.delete_registered_model("mixed")


def test_a_model_that_mlflow_has_no_flavor_for_is_not_exported(registry: Any, client: Any, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def run(batch): return batch")
    registry.register("own", str(tmp_path), scorer=Scorer("score.py", "INTEGER"), trust=True)
    with pytest.raises(ModelUnusable, match=r"own/1 cannot be exported: its loader is script"):
        export_model(registry, "own")
    assert not client.search_registered_models("name='own'")
