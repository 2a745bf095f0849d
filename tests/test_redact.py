"""Secrets reach neither store nor message; what only looks like one in passing does no harm."""

from __future__ import annotations

from pathlib import Path

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
        f"CREATE USER ann PASSWORD $${SECRET}$$",
        f"CREATE SECRET s (TYPE s3, SECRET $q${SECRET}$q$)",
        f"ATTACH 'a.duckdb' (ENCRYPTION_KEY '{SECRET}')",
        f"SET s3_secret_access_key = e'a\\'{SECRET}'",
        f'{{"password": "a\\"{SECRET}"}}',
        f"FROM 'https://x.example/a.csv?X-Amz-Credential={SECRET}%2F1&X-Amz-Signature={SECRET}&page=2'",
        f"FROM 'https://x.example/a.csv?sv=2020&sig={SECRET}&page=2'",
        f"GET /login?next=%2Fa%3Faccess_token%3D{SECRET}",
        f"SELECT '-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----'",
        f"-----BEGIN PRIVATE KEY-----\\n{SECRET}",
        f"header Cookie: session={SECRET}",
    ],
)
def test_no_secret_is_left(text: str) -> None:
    assert SECRET not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "token",
    ["Bearer " + "aB3" * 11, "hf_" + "aB3" * 11, "sk-proj-" + "x1" * 20, "ghp_" + "Q7" * 18, "AKIA" + "ABCD2345" * 2],
)
def test_a_token_is_known_by_its_form(token: str) -> None:
    assert redact(f"SELECT ai_gen('use {token} now')") == "SELECT ai_gen('use *** now')"


def test_the_values_of_secret_variables_are_hidden_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("EDITOR", "vi-is-an-editor")
    assert redact(f"GET /x?q={SECRET} vi-is-an-editor") == "GET /x?q=*** vi-is-an-editor"
    monkeypatch.setenv("DB_PASSWORD", 'it\'s a "pass"')
    for spelling in ("it''s a \"pass\"", 'it\'s a \\"pass\\"', "it%27s%20a%20%22pass%22", "it%27s+a+%22pass%22"):
        assert redact(f"near {spelling}, and") == "near ***, and"


def test_paths_are_no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key.json").touch()
    monkeypatch.setenv("PWD", "/gone/folder")
    monkeypatch.setenv("CLOUD_CREDENTIALS", str(tmp_path / "key.json"))
    for text in ("/gone/folder/nothere.csv", f"{tmp_path / 'key.json'} is no JSON"):
        assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "SELECT ai_gen(body, max_tokens := 9, model := 'short') FROM mails WHERE id = 7",
        "SELECT sum(completion_tokens) AS tokens FROM usage; SELECT 'see https://duckdb.org/docs#x'",
        "SELECT ai_filter('Is this about a secret?', body) FROM t",
        "SELECT 'my password ' || x, ai_classify(x, ['token', 'other'])",
        "summarize needs a text. Its signature: summarize(text, max_words := 50)",
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
