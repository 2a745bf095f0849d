"""What the store costs a key: making keys, keeping answers and finding them again, with 1M answers of 100 bytes.

Usage: python -m benchmarks store [NUM_ANSWERS]. Prints a table, then one line of JSON.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlinfer.store import AnswerKeys, Store
from sqlinfer.types import Completion, Parameters, Request, Text

CHUNK = 2048
PUT = 500
WINDOW = 512

ASKED = Request("")


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    num_answers = int(argv[0]) if argv else 1_000_000
    costs = {"num_answers": num_answers, "key_us": measure_keys(min(num_answers, 200_000))}
    source = random.Random(1)
    keys = [source.randbytes(16) for _ in range(num_answers)]
    with tempfile.TemporaryDirectory() as folder:
        with Store(Path(folder)) as store:
            costs["put_us"] = each(num_answers, lambda: put_all(store, keys))
            costs["file_mb"] = round(store.path.stat().st_size / 1e6, 1)
        with Store(Path(folder)) as store:
            fresh = [source.randbytes(16) for _ in range(20 * WINDOW)]
            costs["keep_cpu_us"] = measure_keeping(store, fresh)
            costs["percent_at_1000_answers_per_s"] = measure_beside_a_model(store, 4096)
        source.shuffle(keys)
        asked = keys[: max(CHUNK, num_answers // CHUNK // 4 * CHUNK)]
        strange = [source.randbytes(16) for _ in asked]
        with Store(Path(folder)) as store:
            get_all(store.answers.texts, asked)
            costs["get_texts_us"] = each(len(asked), lambda: get_all(store.answers.texts, asked))
            costs["get_completions_us"] = each(
                len(asked),
                lambda: get_all(lambda keys: store.answers.completions(dict.fromkeys(keys, ASKED)), asked),
            )
            costs["get_unknown_us"] = each(len(asked), lambda: get_all(store.answers.texts, strange))
            costs["get_texts_2_threads_us"] = each(len(asked), lambda: get_on_two_threads(store, asked))
            costs["get_texts_beside_busy_thread_us"] = each(
                CHUNK * 10, lambda: get_beside_busy(store, asked[: CHUNK * 10])
            )
            costs["stats_s"] = round(each(1, store.answers.stats) / 1e6, 3)
            costs["clear_s"] = round(each(1, store.answers.clear) / 1e6, 3)
    for name, cost in costs.items():
        print(f"{name:34}{cost:>14,}")
    print(json.dumps(costs))


def measure_keys(num_keys: int) -> float:
    """Microseconds a key for requests with texts of 1 KB that share all but the text."""
    parameters = Parameters(max_tokens=64, temperature=0.0)
    body = "The quick brown fox jumps over the lazy dog. " * 23
    requests = [
        Request(f"{number:08d}{body}"[:1024], "Summarize.", parameters=parameters) for number in range(num_keys)
    ]
    key = AnswerKeys("f" * 32, "h" * 32)
    return each(num_keys, lambda: [key(request) for request in requests])


def answer(key: bytes) -> Completion:
    """An answer to keep under a key."""
    return Completion(Request("", key=key), Text(key.hex() * 3 + "...."), 100, 40)


def put_all(store: Store, keys: list[bytes]) -> None:
    """Keep an answer under each key, as an engine would: a few at a time."""
    for at in range(0, len(keys), PUT):
        completions = [answer(key) for key in keys[at : at + PUT]]
        store.answers.put_many(completions, fingerprint="f" * 32, function="summarize")
    store.answers.flush()


def measure_keeping(store: Store, keys: list[bytes]) -> float:
    """Processor microseconds an answer, all told, of what a run does: claim a window, look it up, keep one by one."""
    lease = store.lease()
    start = time.process_time()
    for at in range(0, len(keys), WINDOW):
        window = keys[at : at + WINDOW]
        lease.take(window, ())
        store.answers.texts(window)
        for key in window:
            store.answers.put(answer(key), fingerprint="f" * 32, function="g")
        store.answers.flush()
    lease.release()
    return round((time.process_time() - start) / len(keys) * 1e6, 2)


def measure_beside_a_model(store: Store, num_keys: int) -> float:
    """Percent of a core that keeping takes when a thousand answers come a second, commits by time among them."""
    source = random.Random(2)
    keys = [source.randbytes(16) for _ in range(num_keys)]

    def paced(keep: Callable[[bytes], object]) -> float:
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        for number, key in enumerate(keys):
            time.sleep(max(0.0, started_s + number / 1000 - time.perf_counter()))
            keep(key)
        return (time.process_time() - started_cpu_s) / (time.perf_counter() - started_s)

    idle = paced(lambda _: None)
    kept = paced(lambda key: store.answers.put(answer(key), fingerprint="f", function="g"))
    return round((kept - idle) * 100, 2)


def get_all(find: Callable[[list[bytes]], object], keys: list[bytes]) -> None:
    """Look all keys up, a chunk at a time."""
    for at in range(0, len(keys), CHUNK):
        find(keys[at : at + CHUNK])


def get_on_two_threads(store: Store, keys: list[bytes]) -> None:
    """Look the keys up from two threads at once."""
    half = len(keys) // 2
    parts = (keys[:half], keys[half:])
    threads = [threading.Thread(target=get_all, args=(store.answers.texts, part)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def get_beside_busy(store: Store, keys: list[bytes]) -> None:
    """Look the keys up while another thread computes in Python."""
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(100))

    busy = threading.Thread(target=compute)
    busy.start()
    get_all(store.answers.texts, keys)
    done.set()
    busy.join()


def each(count: int, work: Callable[[], object]) -> float:
    """Microseconds that work takes for one of count."""
    start = time.perf_counter()
    work()
    return round((time.perf_counter() - start) / count * 1e6, 2)


if __name__ == "__main__":
    main(sys.argv[1:])
