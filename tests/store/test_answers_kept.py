from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.store import Store
from sqlinfer.types import Completion, Request, Text
from tests.store.conftest import read_elsewhere

STRANGE = [
    "",
    "\0",
    "a\0b",
    "🎉é",
    "\ud800",
    'quote " \\ \n\t\x01\x7f',
    "\u2028",
    "\ufffe",
    "null",
    "[1]",
    "x" * 100_000,
]


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def keep(store: Store, numbers: range, function: str = "summarize", fingerprint: str = "f") -> None:
    completions = [Completion(Request("", key=key(number)), Text(f"answer {number}"), 3, 2) for number in numbers]
    store.answers.put_many(completions, fingerprint=fingerprint, function=function)


@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("keep_answers", [True, False])
def test_any_text_comes_back_as_it_was(tmp_path: Path, flush: bool, keep_answers: bool) -> None:
    texts = {key(number): text for number, text in enumerate(STRANGE)}
    with Store(tmp_path, keep_answers=keep_answers) as store:
        store.answers.put_many(
            (Completion(Request("", key=k), Text(t)) for k, t in texts.items()), fingerprint="f", function="g"
        )
        if flush:
            store.answers.flush()
        assert store.answers.texts(list(texts)) == texts
        assert {k: c.output for k, c in store.answers.completions(dict.fromkeys(texts, Request(""))).items()} == texts


def test_a_completion_comes_back_whole(store: Store) -> None:
    kept = Completion(Request("", key=key(1)), Text("text"), 7, 9, "length", True)
    store.answers.put(kept, fingerprint="f", function="g")
    assert store.answers.completions({key(1): Request("")}) == {key(1): kept}
    store.answers.flush()
    assert store.answers.completions({key(1): Request(""), key(2): Request("")}) == {key(1): kept}


def test_many_keys_at_once_find_only_what_is_kept(store: Store) -> None:
    keep(store, range(0, 10_000, 2))
    store.answers.flush()
    asked = [key(number) for number in range(10_000)]
    assert store.answers.texts(asked) == {key(n): f"answer {n}" for n in range(0, 10_000, 2)}
    assert store.answers.texts([]) == {}
    assert store.answers.texts([key(2), key(2), key(3)]) == {key(2): "answer 2"}


def test_a_key_of_another_length_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        store.answers.texts([b"short"])


def test_the_first_answer_of_a_key_stays(store: Store) -> None:
    for text in ("first", "second"):
        store.answers.put(Completion(Request("", key=key(1)), Text(text)), fingerprint="f", function="g")
        store.answers.flush()
    assert store.answers.texts([key(1)]) == {key(1): "first"}


def test_a_failed_completion_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="out of memory"):
        store.answers.put(Completion(Request("", key=key(1)), error="out of memory"), fingerprint="f", function="g")
    with pytest.raises(ValueError, match="16 bytes"):
        store.answers.put(Completion(Request("", key=b"short"), Text("text")), fingerprint="f", function="g")


def test_an_answer_is_committed_soon_without_flush(store: Store, tmp_path: Path) -> None:
    for number in range(3):
        keep(store, range(number, number + 1))
    with Store(tmp_path / "home") as other:
        until = time.monotonic() + 60
        while len(other.answers.texts([key(0), key(1), key(2)])) < 3:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_clear_takes_one_function_or_model_and_wipes_the_text(store: Store) -> None:
    keep(store, range(10), "summarize", "f")
    keep(store, range(10, 15), "ai_gen", "f")
    keep(store, range(15, 18), "ai_gen", "g")
    store.answers.put(
        Completion(Request("", key=key(99)), Text("very private words")), fingerprint="g", function="ai_fix"
    )
    stats = store.answers.stats()
    assert stats["answers"] == 19
    assert stats["functions"] == {"summarize": 10, "ai_gen": 8, "ai_fix": 1}
    assert stats["models"] == {"f": 15, "g": 4}
    assert store.answers.clear(function="none") == 0
    assert store.answers.clear(function="ai_gen", model="g") == 3
    assert store.answers.clear(function="ai_fix") == 1
    for file in store.folder.glob("state.db*"):
        assert b"very private" not in read_elsewhere(file)
    assert store.answers.clear(model="f") == 15
    assert store.answers.stats()["answers"] == 0
    keep(store, range(1))
    assert store.answers.texts([key(0)]) == {key(0): "answer 0"}


def test_texts_that_another_process_reads_are_wiped_when_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlinfer.store.answer_cache._WIPE_S", 0.1)
    home = tmp_path / "home"
    with Store(home) as store:
        store.answers.put(
            Completion(Request("", key=key(99)), Text("very private words")), fingerprint="g", function="ai_fix"
        )
        store.answers.flush()
        code = (
            f"import sqlite3; c = sqlite3.connect({str(home / 'state.db')!r}); c.execute('BEGIN'); "
            "c.execute('SELECT count(*) FROM answers').fetchone(); print('reads', flush=True); input()"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as reader:
            assert reader.stdout is not None
            reader.stdout.readline()
            assert store.answers.clear() == 1
            assert not store.answers.is_wiped
            with Store(home) as other:
                assert not other.answers.is_wiped
            reader.communicate("")
        assert any(b"very private" in read_elsewhere(file) for file in home.glob("state.db*"))
        with Store(home) as other:
            assert not other.answers.is_wiped
        assert store.answers.is_wiped
        assert not any(b"very private" in read_elsewhere(file) for file in home.glob("state.db*"))


def test_threads_read_and_write_at_once(store: Store) -> None:
    failures: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 500, 50):
                keep(store, range(number, number + 50))
                assert len(store.answers.texts([key(n) for n in range(number, number + 50)])) == 50
        except (AssertionError, SqlinferError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(1000 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.answers.stats()["answers"] == 4000


WRITER = """
import sys, time
from pathlib import Path
from sqlinfer.store import Store
from sqlinfer.types import Completion, Request, Text
store = Store(Path(sys.argv[1]))
first, last, step = map(int, sys.argv[2:5])
for at in range(first, last, step):
    many = [Completion(Request("", key=n.to_bytes(16, "big")), Text(f"answer {n}")) for n in range(at, at + step)]
    store.answers.put_many(many, fingerprint="f", function="g")
    if len(sys.argv) > 5:
        store.answers.flush()
        print(at + step, flush=True)
store.close()
"""


def writer(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    # The folder is new: the processes also make the file at the same moment. Their keys overlap.
    writers = [writer(tmp_path / "new", first, first + 6000, 100) for first in (0, 3000, 6000)]
    for process in writers:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    with Store(tmp_path / "new") as store:
        assert store.answers.texts([key(n) for n in range(12_000)]) == {key(n): f"answer {n}" for n in range(12_000)}


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is for POSIX")
def test_a_killed_writer_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    process = writer(tmp_path / "new", 0, 10**9, 20, "flush")
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    said += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.wait(timeout=30)
    process.stdout.close()
    with Store(tmp_path / "new") as store:
        assert len(store.answers.texts([key(n) for n in range(said[-1])])) == said[-1]


def test_answers_that_are_not_kept_leave_no_trace(tmp_path: Path) -> None:
    with Store(tmp_path / "home", keep_answers=False) as store:
        assert store.answers.path is None
        store.answers.put(
            Completion(Request("", key=key(1)), Text("very private words")), fingerprint="f", function="g"
        )
        job = store.jobs.start("SELECT 1")
        store.jobs.add_errors(job, [(key(2), "g", "m", "more private words", "too long")])
        store.answers.flush()
        assert store.answers.texts([key(1)]) == {key(1): "very private words"}
        assert [error.message for error in store.jobs.errors(job)] == ["too long"]
        assert store.answers.clear() == 1
    for file in (tmp_path / "home").glob("state.db*"):
        assert b"private words" not in file.read_bytes()
    with Store(tmp_path / "home") as store:
        assert store.answers.stats()["answers"] == 0


def test_readers_beside_a_busy_thread_stay_quick(store: Store) -> None:
    keep(store, range(2000))
    store.answers.flush()
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(100))

    busy = threading.Thread(target=compute)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(0.05)
    busy.start()
    started = time.monotonic()
    found = store.answers.texts([key(n) for n in range(2000)])
    seconds = time.monotonic() - started
    done.set()
    busy.join()
    sys.setswitchinterval(interval_s)
    assert len(found) == 2000
    assert seconds < 50  # one wait for the interpreter a row takes a hundred, on a busy machine as on an idle one


def test_a_cached_completion_carries_the_request_that_asks_for_it(store: Store) -> None:
    store.answers.put(Completion(Request("", key=key(5)), Text("text")), fingerprint="f", function="g")
    store.answers.flush()
    request = Request("asked again")
    assert store.answers.completions({key(5): request})[key(5)].request is request
