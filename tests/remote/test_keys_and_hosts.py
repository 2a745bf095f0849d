"""Laws of addresses and keys: a key goes to its own host and nowhere else; texts go where they may."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import sqlinfer
from sqlinfer.config.remote_source import is_remote, presets, read_remote_source
from sqlinfer.errors import ModelNotFound, ModelUnusable, RequestsFailed, SqlinferError
from sqlinfer.sql import Session
from sqlinfer.store import Store
from tests.remote.faulty_server import FaultyServer, completion, status

KEY = "opaque-91b7c4e2-value"
VARIABLE = "SQLINFER_KEY_127_0_0_1"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, KEY)
    return KEY


def test_the_key_reaches_the_server_and_no_file_log_or_error(
    con: Session, server: FaultyServer, key: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    con.sql("SELECT ai_gen('a')").fetchall()
    assert server.headers[0]["authorization"] == f"Bearer {key}"
    server.faults = (lambda h, body: h.send(400 if key in str(body) else 200, completion(f"you sent {key}")),)
    with pytest.raises(RequestsFailed) as caught:
        con.sql(f"SELECT ai_gen('b {key}')").fetchall()
    server.faults = (status(401, f"wrong key {key}"),)
    with pytest.raises(ModelUnusable) as refused:
        con.sql("SELECT ai_gen('c')").fetchall()
    con.close()
    assert key not in f"{caught.value} {refused.value} {caplog.text}"
    files = [file for file in home.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if key.encode() in file.read_bytes()]


def test_a_redirect_is_not_followed(con: Session, server: FaultyServer, key: str) -> None:
    server.faults = (status(307, location=f"{server.url}/elsewhere"),)
    with pytest.raises(ModelUnusable, match="a key follows no redirect"):
        con.sql("SELECT ai_gen('a')").fetchall()
    assert len(server.bodies) == 1


def test_the_key_of_a_preset_goes_to_its_hosts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for preset in presets().values():
        for source in (f"{preset.name}+https://elsewhere.example/v1#m", "https://elsewhere.example/v1#m"):
            assert read_remote_source(source).key_variables == ("SQLINFER_KEY_ELSEWHERE_EXAMPLE",)
    assert read_remote_source("openai:gpt-5-mini").key_variables[-1] == "OPENAI_API_KEY"


@pytest.mark.parametrize("name", presets())
def test_each_preset_is_registered_and_says_its_key(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://res.openai.azure.com/")
    monkeypatch.setenv("DATABRICKS_HOST", "dbc-1.cloud.databricks.com")
    with Store(home) as store:
        version = store.registry.register("far", f"{name}:some/model")
    preset = presets()[name]
    monkeypatch.delenv(preset.key, raising=False)
    source = read_remote_source(version.source)
    assert source.model == "some/model"
    assert preset.key in source.key_variables
    if preset.needs_key:
        with sqlinfer.connect(model="far") as con, pytest.raises(ModelUnusable, match=f"Set the variable {preset.key}"):
            con.sql("SELECT ai_gen('a')").fetchall()


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("opnai:gpt", ModelNotFound, "no preset 'opnai'. Did you mean openai?"),
        ("http://127.0.0.1:8000/v1", ModelNotFound, "--remote-model MODEL"),
        ("openai:", ModelNotFound, "names a server and no model"),
        ("azure:gpt", ModelUnusable, "AZURE_OPENAI_ENDPOINT is not set"),
        ("https://user:pw@example.org/v1#m", ModelUnusable, "neither a user, a password nor a query"),
        ("https://example.org/v1?key=abc#m", ModelUnusable, "neither a user, a password nor a query"),
        ("http://#m", ModelUnusable, "not the base URL of a server"),
        ("http://[::1#m", ModelUnusable, "not the base URL of a server"),
        ("http://example.org/v1#m", ModelUnusable, "without TLS"),
        ("http://8.8.8.8/v1#m", ModelUnusable, "without TLS"),
    ],
)
def test_a_source_that_cannot_be_used_is_named_and_not_registered(
    home: Path, monkeypatch: pytest.MonkeyPatch, source: str, error: type[SqlinferError], words: str
) -> None:
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    with Store(home) as store:
        with pytest.raises(error) as caught:
            store.registry.register("far", source)
        assert words in str(caught.value)
        assert "pw@" not in str(caught.value)
        assert not store.registry.list()


def test_a_name_of_the_hub_or_a_folder_is_no_address() -> None:
    assert not any(map(is_remote, ["org/name", "./a:b", "/a:b", "name", "runs:/1/model", "models:/m/1", "s3://b/m"]))


def test_a_list_of_hosts_holds_for_what_is_registered_and_what_is_new(home: Path, server: FaultyServer) -> None:
    with Store(home) as store:
        store.registry.register("far", f"{server.url}#m")
        store.registry.hosts.set(["api.openai.com", "*.example.org"])
        store.registry.register("near", "https://a.example.org/v1#m")
        for action in (lambda: store.registry.get("far"), lambda: store.registry.register("x", f"{server.url}#m")):
            with pytest.raises(ModelUnusable, match=r"sqlinfer models hosts --add 127\.0\.0\.1"):
                action()
        store.registry.hosts.set(["http://example.net"])
        store.registry.register("plain", "http://example.net/v1#m")


def test_a_locked_registry_knows_registered_models_only(con: Session, server: FaultyServer) -> None:
    con.runtime.store.registry.lock.set(True)
    assert con.sql("SELECT ai_gen('a')").fetchall() == [("<a>",)]
    with pytest.raises(SqlinferError, match="registry is locked"):
        con.sql("SELECT ai_gen('b', model := 'openai:gpt-5-mini')").fetchall()
    with pytest.raises(SqlinferError, match="CREATE MODEL is refused"):
        con.sql(f"CREATE MODEL n FROM '{server.url}' WITH (remote_model = 'm')")
    assert len(server.bodies) == 1


def test_a_model_is_created_in_sql(con: Session, server: FaultyServer) -> None:
    con.execute(f"CREATE MODEL n FROM '{server.url}' WITH (remote_model = 'other', max_tokens = 5)")
    assert con.sql("SELECT ai_gen('a', model := 'n')").fetchall() == [("<a>",)]
    assert (server.bodies[0]["model"], server.bodies[0]["max_tokens"]) == ("other", 5)
