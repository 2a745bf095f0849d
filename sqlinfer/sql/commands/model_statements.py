"""CREATE MODEL, ALTER MODEL, DROP MODEL, SHOW MODELS and DESCRIBE MODEL: the registry in SQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sqlinfer.config.job_settings import NAMES
from sqlinfer.config.remote_source import is_remote, read_remote_source
from sqlinfer.errors import SqlinferError
from sqlinfer.functions.call_options import read_parameters
from sqlinfer.mlflow import register_model
from sqlinfer.sql.parsing.tokens import Token, tokenize
from sqlinfer.sql_text import unquote
from sqlinfer.store import Registry
from sqlinfer.types import ModelVersion, Parameters

_FORMS = """\
  CREATE [OR REPLACE] MODEL name FROM 'source' [WITH (task = 'summarize', dtype = 'bfloat16', max_tokens = 64, ...)]
  CREATE MODEL name FROM './folder' WITH (script = 'score.py', returns = 'INTEGER', input = 'BLOB', trust = true)
  CREATE MODEL name FROM 'openai:gpt-5-mini', or FROM 'http://127.0.0.1:8000/v1' WITH (remote_model = 'NAME')
  ALTER MODEL name SET ALIAS champion = 3
  DROP MODEL [IF EXISTS] name
  SHOW MODELS
  DESCRIBE MODEL name"""
_REGISTRATION = ("task", "dtype", "revision", "description")


def is_model_statement(sql: str) -> bool:
    """Whether a statement is one of ours.

    >>> is_model_statement("create or replace model m from './m'"), is_model_statement("create table model (i int)")
    (True, False)
    """
    head = [token.keyword for token in tokenize(sql)[:4]]
    if head[:2] == ["DESCRIBE", "MODEL"] and len(head) == 2:  # a table of that name
        return False
    return head[:2] in (["CREATE", "MODEL"], ["ALTER", "MODEL"], ["DROP", "MODEL"], ["DESCRIBE", "MODEL"]) or (
        head == ["CREATE", "OR", "REPLACE", "MODEL"] or head[:2] == ["SHOW", "MODELS"]
    )


def run_model_statement(registry: Registry, sql: str) -> pa.Table:
    """Run one of our statements; its result as a table."""
    words = _Words(sql)
    verb = words.take()
    if verb in ("CREATE", "ALTER", "DROP"):
        registry.lock.check(f"{verb} MODEL")
    if verb == "CREATE":
        return _created(registry, words)
    if verb == "SHOW":
        words.take("MODELS")
        words.end()
        return models_table(registry.list())
    words.take("MODEL")
    if verb == "DESCRIBE":
        name = words.name()
        words.end()
        return _described(registry.get(name))
    if verb == "ALTER":
        name, _, _, alias = words.name(), words.take("SET"), words.take("ALIAS"), words.name()
        words.take("=")
        version = words.value()
        words.end()
        registry.set_alias(name, alias, _whole(version))
        return models_table([registry.get(f"{name}@{alias}")])
    missing_ok = words.accept("IF")
    if missing_ok:
        words.take("EXISTS")
    name = words.name()
    words.end()
    return _dropped(registry, name, missing_ok)


def models_table(versions: Sequence[ModelVersion]) -> pa.Table:
    """Registered models as rows."""
    rows = [
        {"name": v.name, "version": v.version, "task": v.task, "dtype": v.dtype, "source": v.source,
         "fingerprint": v.fingerprint[:12], "description": v.description}
        for v in versions
    ]  # fmt: skip
    text = pa.string()
    names = ("name", "version", "task", "dtype", "source", "fingerprint", "description")
    return pa.Table.from_pylist(rows, pa.schema([(n, pa.int32() if n == "version" else text) for n in names]))


def _created(registry: Registry, words: _Words) -> pa.Table:
    replace = words.accept("OR")
    if replace:
        words.take("REPLACE")
    words.take("MODEL")
    name = words.name()
    words.take("FROM")
    source = words.value()
    options = words.options() if words.accept("WITH") else {}
    words.end()
    if not isinstance(source, str):
        raise SqlinferError(f"CREATE MODEL {name}: the source is a text, a hub id or a folder, not {source!r}")
    if not replace and any(version.name == name for version in registry.list()):
        raise SqlinferError(
            f"model {name} is registered already; write CREATE OR REPLACE MODEL {name} to add its next version"
        )
    if (remote_model := str(options.pop("remote_model", ""))) or is_remote(source):
        source = str(read_remote_source(source, remote_model))
    registration: dict[str, Any] = {key: str(options.pop(key)) for key in _REGISTRATION if key in options}
    trust = options.pop("trust", False) is True
    types = {"returns": options.pop("returns", None), "input_type": options.pop("input", "")}
    types["script"] = options.pop("script", None)
    settings = {key: options.pop(key) for key in NAMES if key in options}
    parameters = read_parameters(options, f"CREATE MODEL {name}") if options else Parameters()
    version = register_model(
        registry, name, source, **registration, **types, parameters=parameters, settings=settings, trust=trust
    )
    return models_table([version])


def _described(version: ModelVersion) -> pa.Table:
    parameters = {f: getattr(version.parameters, f) for f in Parameters.__dataclass_fields__}
    path = None if is_remote(version.source) else version.path
    facts = {
        "name": version.name, "version": version.version, "source": version.source, "revision": version.revision,
        "path": path, "task": version.task, "dtype": version.dtype, "fingerprint": version.fingerprint,
        "description": version.description, **{k: v for k, v in parameters.items() if v is not None},
        **{f"tag {key}": value for key, value in version.tags.items()},
    }  # fmt: skip
    shown = {key: str(value) for key, value in facts.items() if value not in (None, "")}
    return pa.table({"property": list(shown), "value": list(shown.values())})


def _dropped(registry: Registry, name: str, missing_ok: bool) -> pa.Table:
    if not missing_ok or any(version.name == name for version in registry.list()):
        registry.remove(name)
    return models_table(registry.list())


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise SqlinferError(f"ALTER MODEL: a version is a whole number, not {value!r}")
    return value


class _Words:
    """Reads a statement token by token; what does not fit raises an error that shows the forms."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._tokens = tokenize(sql)
        self._next = 0

    def take(self, expected: str = "") -> str:
        token = self._advance(expected or "a word")
        word = token.keyword or token.text
        if expected and word != expected:
            raise self._error(f"expected {expected}, not {token.text}")
        return word

    def accept(self, word: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next].keyword == word:
            self._next += 1
            return True
        return False

    def name(self) -> str:
        """A name: a word, a "quoted name" or a 'text'."""
        token = self._advance("a name")
        if token.text.startswith(("'", '"')):
            return unquote(token.text)
        if not token.word:
            raise self._error(f"expected a name, not {token.text}")
        return token.text

    def value(self) -> Any:
        """A literal: a text, a number, true or false, or a list of them."""
        token = self._advance("a value")
        if token.text.startswith("'"):
            return unquote(token.text)
        if token.text == "[":
            items = []
            while not self._accept_text("]"):
                items.append(self.value())
                self._accept_text(",")
            return items
        if re.fullmatch(r"\d+", token.text):
            return int(token.text)
        if re.fullmatch(r"\d*\.?\d+(?:[eE][+-]?\d+)?", token.text):
            return float(token.text)
        if token.keyword in ("TRUE", "FALSE"):
            return token.keyword == "TRUE"
        raise self._error(f"expected a value, not {token.text}")

    def options(self) -> dict[str, Any]:
        """`(key = value, ...)`."""
        options: dict[str, Any] = {}
        self.take("(")
        while not self._accept_text(")"):
            key = self.name().lower()
            self.take("=")
            options[key] = self.value()
            self._accept_text(",")
        return options

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._error(f"did not expect {self._tokens[self._next].text}")

    def _accept_text(self, text: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next].text == text:
            self._next += 1
            return True
        return False

    def _advance(self, expected: str) -> Token:
        if self._next >= len(self._tokens):
            raise self._error(f"expected {expected} at its end")
        self._next += 1
        return self._tokens[self._next - 1]

    def _error(self, problem: str) -> SqlinferError:
        return SqlinferError(f"{self._sql}\n{problem}. The statements about models are:\n{_FORMS}")
