"""One store in many hands: sessions of a process, threads, forks and other processes lose nothing of each other.

STORE_CROWD_S in the environment: how long processes use a store at random, in place of 5 seconds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sqlinfer
from sqlinfer.errors import StoreUnusable
from sqlinfer.store import Store
from sqlinfer.store.rebuild import mark
from tests.conftest import EchoEngine
from tests.slow_echo import PATIENCE_S, start
from tests.store.crowd import missing, put, spellings
from tests.store.watched import is_unused

CROWD_S = float(os.environ.get("STORE_CROWD_S", "5"))
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="these locks and forks are those of POSIX")


def elsewhere(home: Path, code: str = "pass") -> None:
    """Open the store in another process, run the code there, close it."""
    program = f"""
from pathlib import Path
from sqlinfer.store import Store
from tests.store.crowd import put
with Store(Path({str(home)!r})) as store:
    {code}
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def forked(work: Callable[[], object]) -> None:
    """Do it in a fork of this process; it has to end without an error."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == 0


@posix
def test_what_a_process_opens_and_closes_leaves_its_store_in_use(home: Path) -> None:
    with Store(home) as store:
        put(store, 1, range(5))
        for spelling in [home, home / ".." / "home", Path(os.path.relpath(home))]:
            Store(spelling).close()
            assert not is_unused(home / "state.db")
    assert is_unused(home / "state.db")


def test_processes_that_come_and_go_lose_no_answers(home: Path) -> None:
    with Store(home) as store, Store(home):
        put(store, 1, range(5))
        elsewhere(home, "store.answers.stats()")
        put(store, 1, range(5, 55))
        elsewhere(home, "put(store, 2, range(5))")
        put(store, 1, range(55, 75))
    with Store(home) as store:
        assert not missing(store, 1, range(75))
        assert not missing(store, 2, range(5))


@posix
def test_sessions_and_commands_open_the_file_through_sqlite_only(home: Path, registered: None) -> None:
    program = [sys.executable, "-m", "tests.store.watched", str(home)]
    said = subprocess.run(program, check=True, capture_output=True, text=True, timeout=120).stdout
    assert json.loads(said.splitlines()[-1]) == {"touched": [], "unused": ["closed all"]}


def test_a_run_beside_sessions_loses_no_answers(home: Path, tmp_path: Path, registered: None, echo: EchoEngine) -> None:
    def ask(session: sqlinfer.Session, kind: str, count: int) -> None:
        session.runtime.open_engine = lambda version: echo
        session.execute(f"SELECT ai_gen('{kind} ' || i) FROM range({count}) r(i)").fetchall()

    query = tmp_path / "query.sql"
    query.write_text("SELECT ai_gen('elsewhere ' || i) FROM range(5) r(i)")
    with sqlinfer.connect(model="echo") as first, sqlinfer.connect(model="echo"):
        ask(first, "first", 5)
        elsewhere(home, "store.answers.stats()")
        ask(first, "second", 50)
        run = start("run", str(query), "--model", "echo")
        output = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0, output
        ask(first, "third", 20)
    with Store(home) as store:
        assert store.answers.stats()["answers"] == 80


def test_processes_that_use_a_store_at_random_lose_nothing(home: Path) -> None:
    home.mkdir(mode=0o700)
    home.with_name("link").symlink_to(home, target_is_directory=True)
    crowd = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.store.crowd", str(home), str(number), str(CROWD_S)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    said = [process.communicate(timeout=CROWD_S + 120) for process in crowd]
    assert [process.returncode for process in crowd] == [0] * 4, said
    counts = [int(out) for out, _ in said]
    assert min(counts) > 0
    with Store(home) as store:
        assert [len(missing(store, number, range(count))) for number, count in enumerate(counts)] == [0] * 4
        assert store.answers.stats()["answers"] == sum(counts)


def test_threads_that_make_the_store_at_once_share_one_file(home: Path) -> None:
    def work(number: int) -> None:
        for place in range(5):
            with Store(home) as store:
                put(store, number, [place])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert stat.S_IMODE((home / "state.db").stat().st_mode) == 0o600
    with Store(home) as store:
        assert [missing(store, number, range(5)) for number in range(6)] == [{}] * 6


@pytest.mark.parametrize("spelling", range(4))
def test_a_store_stays_the_same_when_its_name_changes_its_meaning(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: int
) -> None:
    home.mkdir()
    link = home.with_name("link")
    link.symlink_to(home, target_is_directory=True)
    with Store(spellings(home)[spelling]) as store, Store(home) as other:
        put(store, 1, range(5))
        (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "elsewhere" / "deep")
        link.unlink()
        link.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        assert not missing(store, 1, range(5))
        put(other, 2, range(5))
        assert not missing(store, 2, range(5))
    assert not list((tmp_path / "elsewhere").glob("**/state.db"))


@posix
@pytest.mark.parametrize("kind", ["its own store", "the parent's store"])
def test_a_fork_and_its_parent_lose_nothing_of_each_other(home: Path, kind: str) -> None:
    with Store(home) as store:
        put(store, 1, range(5))

        def work() -> None:
            used = Store(home) if kind == "its own store" else store
            assert not missing(used, 1, range(5))
            put(used, 2, range(5))
            assert not is_unused(home / "state.db")
            elsewhere(home)
            put(used, 2, range(5, 10))
            used.close()

        forked(work)
        put(store, 1, range(5, 10))
        elsewhere(home, "put(store, 3, range(5))")
        put(store, 1, range(10, 15))
    with Store(home) as store:
        assert not missing(store, 1, range(15))
        assert not missing(store, 2, range(10))
        assert not missing(store, 3, range(5))


@posix
def test_a_fork_that_outlives_its_parents_store_has_locks_of_its_own(home: Path) -> None:
    store = Store(home)
    put(store, 1, range(5))
    forks = multiprocessing.get_context("fork")
    is_open, is_closed = forks.Event(), forks.Event()

    def work() -> None:
        with Store(home) as own:
            put(own, 2, range(5))
            is_open.set()
            assert is_closed.wait(60)
            put(own, 2, range(5, 10))

    child = forks.Process(target=work)
    child.start()
    assert is_open.wait(60)
    store.close()
    elsewhere(home, "put(store, 3, range(5))")
    assert not is_unused(home / "state.db")
    is_closed.set()
    child.join()
    assert child.exitcode == 0
    with Store(home) as store:
        assert not missing(store, 1, range(5))
        assert not missing(store, 2, range(10))
        assert not missing(store, 3, range(5))


@posix
def test_a_fork_made_while_a_store_is_read_is_refused(home: Path) -> None:
    with Store(home) as store:
        put(store, 1, range(5))

        def work() -> None:
            for use in (lambda: Store(home), lambda: missing(store, 1, range(5)), lambda: put(store, 2, range(5))):
                with pytest.raises(StoreUnusable, match=r"forked while its parent was using a store.*spawn"):
                    use()

        with store.answers._database.reading():
            forked(work)
        put(store, 1, range(5, 10))
        forked(lambda: put(store, 2, range(5)))
        assert not missing(store, 2, range(5))


@posix
def test_answers_that_are_not_kept_stay_in_their_process(home: Path) -> None:
    with Store(home, keep_answers=False) as store:
        put(store, 1, range(5))

        def work() -> None:
            with pytest.raises(StoreUnusable, match="without a file"):
                missing(store, 1, range(5))

        forked(work)
        assert not missing(store, 1, range(5))


def test_who_has_a_corrupt_file_open_while_it_is_made_anew_is_told_when_it_writes(home: Path) -> None:
    with Store(home) as early:
        put(early, 1, range(5))
        mark(home / "state.db")
        with Store(home) as late:
            put(late, 2, range(5))
            with pytest.raises(StoreUnusable, match=r"replaced or deleted while it was open.*Connect again"):
                put(early, 1, range(5, 10))
            early.answers._waiting.clear()
            early.close()
            elsewhere(home, "put(store, 3, range(5))")
            put(late, 2, range(5, 10))
    with Store(home) as store:
        assert not missing(store, 2, range(10))
        assert not missing(store, 3, range(5))
    assert len([file for file in home.glob("state.db.corrupt-*") if file.suffix[-4:] not in ("-wal", "-shm")]) == 1


def test_damage_in_a_file_set_aside_says_nothing_about_the_one_in_its_place(home: Path) -> None:
    with Store(home) as store:
        put(store, 1, range(3000))
    path = home / "state.db"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"\xff" * (len(whole) - len(whole) // 2))
    with Store(home) as early:
        mark(path)
        with Store(home) as late:
            put(late, 2, range(5))
            with pytest.raises(StoreUnusable, match="corrupt"):
                missing(early, 1, range(3000))
    with Store(home) as store:
        assert not missing(store, 2, range(5))


@posix
def test_a_log_that_another_program_removed_is_told(home: Path) -> None:
    with Store(home) as store:
        put(store, 1, range(5))
        (home / "state.db").open("rb").close()  # what no code of ours does: the locks are gone
        elsewhere(home, "put(store, 2, range(5))")
        with pytest.raises(StoreUnusable, match=r"its log was replaced or deleted.*Connect again"):
            put(store, 1, range(5, 10))
        store.answers._waiting.clear()
    with Store(home) as store:
        assert not missing(store, 1, range(5))
        assert not missing(store, 2, range(5))


def test_making_a_corrupt_file_anew_goes_on_where_it_was_killed(home: Path) -> None:
    with Store(home) as store:
        put(store, 1, range(5))
    mark(home / "state.db")
    (home / "state.db").rename(home / ".state.db.new")  # killed before the new one had its name
    with Store(home) as store:
        assert not missing(store, 1, range(5))
    assert not list(home.glob("*corrupt*"))
