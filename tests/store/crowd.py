"""A process that uses a store at random, as `python -m tests.store.crowd FOLDER NUMBER SECONDS`.

It opens, closes, puts, reads, clears nothing, and looks, with up to three stores open at once; it ends with an error
where an answer that it has committed is not found. At the end it prints how many it has committed.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from sqlinfer.store import Store
from sqlinfer.types import Completion, Request, Text


def key(number: int, place: int) -> bytes:
    """The key of the answer that a process put at this place."""
    return number.to_bytes(8, "big") + place.to_bytes(8, "big")


def text(number: int, place: int) -> str:
    return f"answer {place} of process {number}"


def put(store: Store, number: int, places: Iterable[int]) -> None:
    """Commit the answers of these places."""
    answers = [Completion(Request("", key=key(number, place)), Text(text(number, place))) for place in places]
    store.answers.put_many(answers, fingerprint="f", function="g")
    store.answers.flush()


def missing(store: Store, number: int, places: Iterable[int]) -> dict[bytes, str | None]:
    """Which of these places have no answer, or another one."""
    wanted = {key(number, place): text(number, place) for place in places}
    found = store.answers.texts(list(wanted))
    return {each: found.get(each) for each, right in wanted.items() if found.get(each) != right}


def spellings(folder: Path) -> list[Path]:
    """Names of one folder: as it is, through a link, and from here."""
    link = folder.with_name("link")
    return [folder, link, Path(os.path.relpath(folder)), folder / ".." / folder.name]


def use(folder: Path, number: int, seconds: float) -> int:
    source, stores, count = random.Random(number), [Store(folder)], 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        store = source.choice(stores)
        match source.choice(["open", "close", "put", "put", "read", "look", "clear"]):
            case "open" if len(stores) < 3:
                stores.append(Store(source.choice(spellings(folder))))
            case "close":
                stores.remove(store)
                store.close()
                stores = stores or [Store(folder)]
            case "put":
                more = source.randint(1, 40)
                put(store, number, range(count, count + more))
                count += more
            case "read" if count:
                lost = missing(store, number, source.choices(range(count), k=50))
                assert not lost, lost
            case "look":
                assert store.answers.stats()["answers"] >= count
            case "clear" if source.random() < 0.1:
                assert store.answers.clear(function="none") == 0
    for store in stores:
        store.close()
    return count


if __name__ == "__main__":
    print(use(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
