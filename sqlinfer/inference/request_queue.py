"""The questions of calls that come at the same time, asked together: each model has one run of its engine at a time,
and what comes meanwhile joins it. Knows no engine and no connection."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from sqlinfer.errors import Interrupted, SqlinferError
from sqlinfer.inference.cancellation import Cancel, wait_for
from sqlinfer.inference.failures import Failure
from sqlinfer.inference.keyed_request import KeyedRequest, Route
from sqlinfer.types import AnyRequest, Completion, ModelVersion

_WINDOW = 512

Failures = dict[bytes, Failure]
Infer = Callable[[ModelVersion, Iterator[tuple[Route, AnyRequest]], Failures], Iterator[Completion]]


class RequestQueue:
    """Asks what calls bring. infer: asks one model version. known: those of the keys that have an answer. stop: ends
    what infer does."""

    def __init__(
        self, infer: Infer, known: Callable[[Sequence[bytes]], Collection[bytes]], stop: threading.Event
    ) -> None:
        self._infer = infer
        self._known = known
        self._stop = stop
        self._lock = threading.Lock()
        self._entries: dict[bytes, _Entry] = {}
        self._waiting: dict[str, deque[_Entry]] = {}  # by fingerprint; a model that is here has a thread
        self._idle = threading.Condition(self._lock)
        self._is_closed = False

    def ask(self, questions: Sequence[KeyedRequest], cancel: Cancel) -> Failures:
        """Wait until each question has an answer in the store or is among the failures. Raises what ended the run, and
        Interrupted when the call is wanted no more; what nobody else wants is not asked then."""
        if not questions:
            return {}
        call = _Call()
        with self._lock:
            if self._is_closed:
                raise Interrupted
            mine = [self._join(question, call) for question in questions]
        try:
            wait_for(call.is_done.wait, cancel)
        finally:
            with self._lock:
                for entry in mine:
                    entry.calls.remove(call)
        if call.error is not None:
            raise call.error
        return {entry.key: entry.failure for entry in mine if entry.failure is not None}

    def close(self) -> None:
        """Stop asking, and wait until no model is asked any more: within a step of the engine. A run whose calls all
        have their answers ends by itself, as done."""
        with self._idle:
            self._is_closed = True
            if self._entries:
                self._stop.set()
            self._idle.wait_for(lambda: not self._waiting)

    def _join(self, question: KeyedRequest, call: _Call) -> _Entry:
        entry = self._entries.get(question.key)
        if entry is None:
            entry = self._entries[question.key] = _Entry(question)
            version = question.origin.version
            if version.fingerprint not in self._waiting:
                self._waiting[version.fingerprint] = deque()
                threading.Thread(target=self._run, args=(version,), daemon=True).start()
            self._waiting[version.fingerprint].append(entry)
        entry.calls.append(call)
        call.num_open += 1
        return entry

    def _run(self, version: ModelVersion) -> None:
        """Ask a model until nothing is left to ask."""
        while True:
            taken: dict[bytes, _Entry] = {}
            error: BaseException | None = None
            failures: Failures = {}
            try:
                for completion in self._infer(version, self._requests(version, taken), failures):
                    key = completion.request.key
                    self._finish([taken.pop(key)], failures.pop(key, None))
                self._check(version, taken)
            except BaseException as raised:  # noqa: BLE001 - it is raised again in the calls
                error = raised
            with self._lock:
                left = self._waiting[version.fingerprint]
                if error is not None:
                    taken |= {entry.key: entry for entry in left}
                    left.clear()
            self._finish(taken.values(), error=error)
            with self._lock:
                if not left:
                    del self._waiting[version.fingerprint]
                    self._idle.notify_all()
                    return

    def _requests(self, version: ModelVersion, taken: dict[bytes, _Entry]) -> Iterator[tuple[Route, AnyRequest]]:
        """What waits, in order of coming; ends when nothing waits, as the engine must not."""
        while True:
            with self._lock:
                left = self._waiting[version.fingerprint]
                window = [left.popleft() for _ in range(min(_WINDOW, len(left)))]
                wanted = [entry for entry in window if entry.calls]
                for entry in window:
                    if not entry.calls:
                        del self._entries[entry.key]
            if not window:
                return
            known = self._known([entry.key for entry in wanted])
            self._finish([entry for entry in wanted if entry.key in known])
            for entry in wanted:
                if entry.key not in known:
                    taken[entry.key] = entry
                    yield entry.question.origin, entry.question.request

    def _check(self, version: ModelVersion, taken: Mapping[bytes, _Entry]) -> None:
        """What was taken and did not come back has been answered by another process."""
        missing = len(taken) - len(self._known(list(taken)))
        if missing:
            raise SqlinferError(f"{version} gave no answer to {missing:,} requests, and no error; run the same again")

    def _finish(
        self, entries: Collection[_Entry], failure: Failure | None = None, error: BaseException | None = None
    ) -> None:
        """Tell the calls that wait for these questions."""
        with self._lock:
            for entry in entries:
                entry.failure = failure
                self._entries.pop(entry.key, None)
                for call in entry.calls:
                    call.error = call.error or error
                    call.num_open -= 1
                    if call.num_open == 0:
                        call.is_done.set()


class _Call:
    """A call that waits. num_open: its questions that have not ended."""

    __slots__ = ("error", "is_done", "num_open")

    def __init__(self) -> None:
        self.num_open = 0
        self.is_done = threading.Event()
        self.error: BaseException | None = None


class _Entry:
    """A question that is to be asked, and the calls that wait for it."""

    __slots__ = ("calls", "failure", "key", "question")

    def __init__(self, question: KeyedRequest) -> None:
        self.question = question
        self.key = question.key
        self.calls: list[_Call] = []
        self.failure: Failure | None = None
