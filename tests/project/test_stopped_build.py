"""`sqlinfer build` as a process that is stopped or killed while a node asks: what is done stays, the rest goes on."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from sqlinfer.store import Store
from tests.conftest import EchoEngine
from tests.project.conftest import Invoke, Rows, Write
from tests.project.test_build import states
from tests.slow_echo import PATIENCE_S, start, wait_for_answers

NUM_ROWS = 300
"""They take the slow engine a minute, so that the signal comes before the end on however busy a machine."""


def files(materialized: str, num_rows: int) -> Mapping[str, str]:
    """A project of which `second` asks about each row."""
    return {
        "seeds/numbers.csv": "\n".join(["id", *map(str, range(num_rows)), ""]),
        "models/first.sql": "SELECT id, ai_gen('kind ' || id % 3) AS kind FROM {{ ref('numbers') }}",
        "models/second.sql": f"{{{{ config(materialized='{materialized}') }}}}\n"
        "SELECT id, ai_gen('number ' || id) AS answer FROM {{ ref('first') }}\n"
        "{% if is_incremental() %} WHERE id > (SELECT max(id) FROM {{ this }}) {% endif %}",
        "models/third.sql": "SELECT count(*) AS n FROM {{ ref('second') }}",
    }


def stop_a_build(home: Path, number: signal.Signals) -> str:
    """Send a signal to a build on a slow engine while `second` asks; what it said on stderr."""
    build = start("build", answer_s=0.2)
    wait_for_answers(home, 3 + 2 + 1)  # all of `first`, those of the build before, some of `second`
    build.send_signal(number)
    _, said = build.communicate(timeout=PATIENCE_S)
    assert build.returncode == (-number if number == signal.SIGKILL else 130), said
    return said


@pytest.mark.parametrize(
    ("number", "materialized"),
    [
        (signal.SIGINT, "table"),
        (signal.SIGTERM, "incremental"),  # one handler stops for both
        (signal.SIGKILL, "table"),
        (signal.SIGKILL, "incremental"),
    ],
    ids=str,
)
def test_finished_nodes_stay_no_table_is_half_and_retry_goes_on(
    *,
    invoke: Invoke,
    write: Write,
    rows: Rows,
    home: Path,
    echoing: EchoEngine,
    number: signal.Signals,
    materialized: str,
) -> None:
    write(files(materialized, 2))
    invoke("build")
    write(files(materialized, NUM_ROWS))
    said = stop_a_build(home, number)
    if number != signal.SIGKILL:
        assert "Stopped; every finished answer is kept. To resume: sqlinfer retry" in said
        assert "Traceback" not in said
    assert rows("SELECT count(*), max(kind) FROM first") == [(NUM_ROWS, "<kind 2>")]
    assert rows("SELECT count(*), max(answer) FROM second") == [(2, "<number 1>")]
    assert rows("FROM third") == [(2,)]
    assert rows("SELECT table_name FROM duckdb_tables() ORDER BY ALL") == [
        ("first",), ("numbers",), ("second",), ("third",),
    ]  # fmt: skip

    with Store(home) as store:
        kept, job = store.answers.stats()["answers"], store.jobs.list()[0]
    if number != signal.SIGKILL:
        assert (job.state, job.generated, job.settings["node"]) == ("interrupted", kept - 5, "second")
        assert job.known == (2 if materialized == "table" else 0)
    echoing.asked.clear()
    assert states(invoke, "retry") == {"second": "done", "third": "done"}
    assert len(echoing.asked) == len(set(echoing.texts)) == 3 + NUM_ROWS - kept
    assert rows("SELECT count(*), count(DISTINCT answer) FROM second") == [(NUM_ROWS, NUM_ROWS)]
    assert rows("FROM third") == [(NUM_ROWS,)]


def test_a_build_after_a_killed_one_asks_only_what_is_open(
    invoke: Invoke, write: Write, rows: Rows, home: Path, echoing: EchoEngine
) -> None:
    write(files("table", NUM_ROWS))
    stop_a_build(home, signal.SIGKILL)
    assert rows("SELECT table_name FROM duckdb_tables() ORDER BY ALL") == [("first",), ("numbers",)]
    with Store(home) as store:
        kept = store.answers.stats()["answers"]
    assert set(states(invoke, "build").values()) == {"done"}
    assert len(echoing.asked) == 3 + NUM_ROWS - kept
    assert rows("FROM third") == [(NUM_ROWS,)]
