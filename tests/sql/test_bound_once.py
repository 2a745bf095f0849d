"""A statement is tokenized once and bound once, however many passes read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from sqlinfer.sql import Session
from sqlinfer.sql.connect import make_runtime
from sqlinfer.sql.parsing import tokens
from tests.conftest import EchoEngine

GUARDED = "SELECT i FROM t WHERE ai_if(body, 'is it {}?') AND i % 2 = 0"


class Counted:
    """A DuckDB connection that counts its EXPLAINs."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, counts: Counter[str]) -> None:
        self._connection = connection
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, query: Any, *args: Any) -> Counted:
        self._counts["EXPLAIN"] += str(query).upper().startswith("EXPLAIN")
        self._connection.execute(query, *args)
        return self


@pytest.mark.parametrize(
    "run",
    [
        lambda session, sql: session.execute(sql).fetchall(),
        lambda session, sql: session.sql(sql).fetchall(),
        lambda session, sql: session.rows(sql).arrow().read_all(),
    ],
    ids=["execute", "sql", "stream"],
)
def test_a_guarded_query_is_tokenized_once_and_bound_once(
    run: Callable[[Session, str], Any],
    request: pytest.FixtureRequest,
    registered: None,
    echo: EchoEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = Counter[str]()
    read = tokens._starts

    def starts(sql: str) -> list[int]:
        counts["tokenized"] += 1
        return read(sql)

    with duckdb.connect() as connection:
        session = Session(Counted(connection, counts), make_runtime("echo", False, None, None))  # type: ignore[arg-type]
        session.runtime.open_engine = lambda version: echo
        session.execute("CREATE TABLE t AS SELECT i, 'text ' || i AS body FROM range(20) r(i)")
        session.execute(GUARDED.format(f"known before {request.node.name}")).fetchall()
        monkeypatch.setattr(tokens, "_starts", starts)
        counts.clear()
        run(session, GUARDED.format(request.node.name))
        assert counts == {"tokenized": 1, "EXPLAIN": 1}
        assert len(echo.asked) == 20  # 10 rows each time
        session.close()
