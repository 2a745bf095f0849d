"""Secrets reach neither store nor message; what only looks like one in passing does no harm."""

from __future__ import annotations

import pytest

from sqlinfer.redact import redact, redact_all

SECRET = "s3cr3t-V4lue/x+y"


@pytest.mark.parametrize(
    "text",
    [
        f"ATTACH 'postgres://ann:{SECRET}@db.example/shop' AS shop",
        f"ATTACH 'host=db user=ann password={SECRET} dbname=shop' AS shop (TYPE postgres)",
        f"ATTACH 'md:shop?motherduck_token={SECRET}'",
        f"CREATE OR REPLACE PERSISTENT SECRET s (TYPE s3, KEY_ID 'AK', SECRET '{SECRET}', REGION 'eu')",
        f"create secret (type http, bearer_token '{SECRET}', extra_http_headers map {{'Authorization': '{SECRET}'}})",
        f"CREATE SECRET s (TYPE azure, CONNECTION_STRING 'AccountName=a;AccountKey={SECRET}')",
        f"SET s3_secret_access_key = '{SECRET}'",
        f"SET motherduck_token TO '{SECRET}'",
        f"SET VARIABLE password = '{SECRET}'",
        f"FROM read_csv('https://x.example/a.csv?access_token={SECRET}&page=2')",
        f'{{"api_key": "{SECRET}", "page": 2}}',
        f"HTTP Error: 401, header Authorization: Bearer {SECRET}",
        f"Parser Error near CREATE SECRET s (TYPE s3, SECRET '{SECRET}",
    ],
)
def test_no_secret_is_left(text: str) -> None:
    assert SECRET not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "token", ["hf_" + "aB3" * 11, "sk-proj-" + "x1" * 20, "ghp_" + "Q7" * 18, "AKIA" + "ABCD2345" * 2]
)
def test_a_token_is_known_by_its_form(token: str) -> None:
    assert redact(f"SELECT ai_gen('use {token} now')") == "SELECT ai_gen('use *** now')"


def test_the_values_of_secret_variables_are_hidden_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("EDITOR", "vi-is-an-editor")
    assert redact(f"GET /x?q={SECRET} vi-is-an-editor") == "GET /x?q=*** vi-is-an-editor"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT ai_gen(body, max_tokens := 9, model := 'short') FROM mails WHERE id = 7",
        "SELECT sum(completion_tokens) AS tokens FROM usage; SELECT 'see https://duckdb.org/docs#x'",
        "SELECT ai_filter('Is this about a secret?', body) FROM t",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


def test_settings_are_hidden_by_their_name() -> None:
    given = {"db": "a.duckdb", "settings": {"db_password": "short", "n": 3}, "files": [f"x?token={SECRET}"]}
    assert redact_all(given) == {
        "db": "a.duckdb",
        "settings": {"db_password": "***", "n": 3},
        "files": ["x?token=***"],
    }
