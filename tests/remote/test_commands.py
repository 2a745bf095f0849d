"""Models behind an address on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqlinfer.errors import ModelUnusable
from sqlinfer.mlflow.export_folder import check_exportable
from sqlinfer.store import Store
from tests.cli.conftest import Invoke, invoke
from tests.remote.faulty_server import FaultyServer

__all__ = ["invoke"]


def test_a_server_is_registered_shown_and_asked(invoke: Invoke, server: FaultyServer) -> None:
    assert "far/1 is registered" in invoke("models", "register", "far", server.url, "--remote-model", "m").stdout
    facts = json.loads(invoke("models", "show", "far", "--json").stdout)
    assert (facts["base_url"], facts["remote_model"], facts["path"]) == (server.url, "m", None)
    result = invoke("run", "-c", "SELECT ai_gen('a') AS x", "--model", "far", "--max-retries", "0")
    assert "<a>" in result.stdout


def test_explain_says_what_it_will_cost_and_sends_nothing(invoke: Invoke) -> None:
    invoke("models", "register", "gpt", "openai:gpt-5-mini")
    result = invoke("explain", "-c", "SELECT ai_gen(repeat('word ', 10000))", "--model", "gpt")
    assert ", about $0.00" in result.stdout
    unknown = invoke("explain", "-c", "SELECT ai_gen('a')", "--model", "openai:no-such-model")
    assert "at a price that is not known: see `sqlinfer prices`" in unknown.stdout


def test_hosts_are_listed_added_and_freed(invoke: Invoke, server: FaultyServer) -> None:
    assert invoke("models", "hosts").stdout == "every host\n"
    invoke("models", "hosts", "api.openai.com")
    assert (
        "sqlinfer models hosts --add 127.0.0.1" in invoke("models", "register", "far", f"{server.url}#m", code=1).stderr
    )
    assert invoke("models", "hosts", "--add", "127.0.0.1").stdout == "127.0.0.1\napi.openai.com\n"
    invoke("models", "register", "far", f"{server.url}#m")
    assert json.loads(invoke("models", "hosts", "--any", "--json").stdout) == {"hosts": []}


def test_prices_name_the_file_of_ones_own(invoke: Invoke, home: Path) -> None:
    assert str(home / "prices.toml") in invoke("prices").stdout
    assert {"host": "api.openai.com", "model": "gpt-5-mini"}.items() <= json.loads(invoke("prices", "--json").stdout)[
        1
    ].items()


def test_a_model_behind_an_address_is_not_exported(home: Path) -> None:
    with Store(home) as store, pytest.raises(ModelUnusable, match="lies behind an address"):
        check_exportable(store.registry.register("gpt", "openai:gpt-5-mini"))
