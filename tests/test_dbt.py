"""The dbt project in examples/dbt, built by the dbt program itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from sqlinfer.sql.parsing.written_targets import created_table
from sqlinfer.sql.storage import STORAGE_VERSION
from sqlinfer.store import Store
from sqlinfer.store.jobs import JobRecord
from tests.slow_echo import PATIENCE_S, wait_for_answers

pytest.importorskip("dbt.adapters.duckdb", reason="dbt-duckdb is not installed: pip install 'sqlinfer[dbt]'")

ROOT = Path(__file__).parents[1]
MOST = 8
"""Rows of each source."""


CONTRACTED = "SELECT id, ai_classify(body, ['late', 'lost']) AS topic FROM {{ ref('stg_tickets') }}"
CONTRACT = """
models:
  - name: contracted
    config: {materialized: table, contract: {enforced: true}}
    columns: [{name: id, data_type: integer}, {name: topic, data_type: varchar}]
"""


class Shop:
    """A copy of the example. home: the state of its runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.most = folder / "dbt", folder / "home", MOST
        built = shutil.ignore_patterns("target", "logs", "*.duckdb")
        shutil.copytree(ROOT / "examples" / "dbt", self.folder, ignore=built)
        (folder / "data").mkdir()
        for path in (ROOT / "examples" / "data").glob("*.csv"):
            self._write(folder / "data" / path.name, path.read_text(encoding="utf-8").splitlines(keepends=True))

    def _write(self, path: Path, lines: list[str]) -> None:
        path.write_text("".join(lines[: 1 + 4 * MOST]), encoding="utf-8")

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """The program, with four threads."""
        program = Path(sys.executable).with_name("dbt")
        return subprocess.Popen(
            [program, "--no-use-colors", *words, "--profiles-dir", ".", "--vars", f"{{most: {self.most}}}"],
            cwd=self.folder,
            env={
                **os.environ,
                "SQLINFER_HOME": str(self.home),
                "PYTHONPATH": str(ROOT),
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def use_echo(self) -> None:
        """Let an echo answer from now on, which starts sooner than a model; what was answered stays."""
        profile = self.folder / "profiles.yml"
        plugged = profile.read_text(encoding="utf-8").replace("sqlinfer.dbt", "tests.slow_dbt")
        profile.write_text(plugged, encoding="utf-8")
        (self.folder / "tests" / "gists_are_short.sql").unlink()  # an echo is as long as its text

    def dbt(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        process = self.start(*words, **environment)
        said = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, *said)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with duckdb.connect(str(self.folder / "shop.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def jobs(self) -> dict[str, JobRecord]:
        """The newest job of each model."""
        with Store(self.home) as store:
            jobs = store.jobs.list(-1)
        made = [((created_table(job.statement) or "").rpartition(".")[2], job) for job in jobs]
        names = ("review_moods", "ticket_topics", "ticket_gists")
        return {name: next(job for table, job in made if name in table) for name in names}


@pytest.mark.slow
def test_a_second_build_asks_about_the_new_rows_alone_and_a_contract_is_one_job(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    built = shop.dbt("build")
    assert built.returncode == 0, built.stdout
    assert "PASS=18 WARN=0 ERROR=0 SKIP=0" in built.stdout
    databases = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'shop'"
    assert shop.rows(databases) == [(f"{STORAGE_VERSION}+",)]  # as sqlinfer makes files
    assert "4 threads" in built.stdout
    assert f"review_moods: {MOST} rows, {MOST} requests: 0 known, {MOST} generated" in built.stdout
    assert "leaked" not in built.stderr
    assert shop.rows("SELECT count(*), count(sentiment) FROM review_moods") == [(MOST, MOST)]
    assert {name: (job.rows, job.generated) for name, job in shop.jobs().items()} == {
        "review_moods": (MOST, MOST),
        "ticket_topics": (MOST, MOST),
        "ticket_gists": (MOST, MOST),
    }
    gists = shop.rows("SELECT id, topic, gist FROM ticket_gists ORDER BY id")

    shop.most += 2
    shop.use_echo()
    (shop.folder / "models" / "contracted.sql").write_text(CONTRACTED)
    (shop.folder / "models" / "contracted.yml").write_text(CONTRACT)
    rebuilt = shop.dbt("build", SLOW_ECHO_S="0")
    assert rebuilt.returncode == 0, rebuilt.stdout
    assert f"contracted: {MOST + 2} rows, {MOST + 2} requests: 0 known, {MOST + 2} generated" in rebuilt.stdout
    with Store(shop.home) as store:
        assert {job.state for job in store.jobs.list(-1)} == {"done"}
    assert {name: (job.rows, job.known, job.generated) for name, job in shop.jobs().items()} == {
        "review_moods": (MOST + 2, MOST, 2),
        "ticket_topics": (2, 0, 2),  # incremental: the other rows are not even read
        "ticket_gists": (MOST + 2, MOST, 2),
    }
    assert shop.rows(f"SELECT id, topic, gist FROM ticket_gists WHERE id <= {MOST} ORDER BY id") == gists
    assert shop.rows("SELECT count(*) FROM ticket_topics") == [(MOST + 2,)]


@pytest.mark.slow
def test_errors_say_what_is_wrong(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    profile = shop.folder / "profiles.yml"
    said = profile.read_text(encoding="utf-8")
    profile.write_text(said + "          config: {modle: tiny}\n", encoding="utf-8")
    failed = shop.dbt("seed")
    assert failed.returncode != 0
    assert "sqlinfer.dbt has no config modle. Did you mean model?" in failed.stdout
    profile.write_text(said + "          config: {model: nowhere}\n", encoding="utf-8")
    failed = shop.dbt("build", "--select", "+review_moods")
    assert failed.returncode == 1
    assert "nowhere" in failed.stdout
    assert "sqlinfer models" in failed.stdout
    assert "SKIP=4" in failed.stdout


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_answered_and_the_next_build_goes_on(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.use_echo()
    shop.most = 4 * MOST
    stopped = shop.start("build", SLOW_ECHO_S="0.5")
    wait_for_answers(shop.home)
    stopped.send_signal(signal.SIGINT)
    said, errors = stopped.communicate(timeout=PATIENCE_S)
    assert stopped.returncode != 0, said
    assert "leaked" not in errors
    with Store(shop.home) as store:
        kept = store.answers.stats()["answers"]
    assert 0 < kept < 3 * shop.most  # three models ask about each row
    rebuilt = shop.dbt("build", SLOW_ECHO_S="0")
    assert rebuilt.returncode == 0, rebuilt.stdout
    with Store(shop.home) as store:
        assert sum(job.generated for job in store.jobs.list(-1)) == store.answers.stats()["answers"] > kept
    assert shop.rows("SELECT count(*), count(sentiment) FROM review_moods") == [(shop.most, shop.most)]
