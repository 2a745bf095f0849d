"""What the connections of one session share: functions, store, settings, and the way to the engines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

from sqlinfer.engine.pool import get_engine
from sqlinfer.functions import Function, Functions
from sqlinfer.sql.asking import Asking
from sqlinfer.sql.pending import Origin
from sqlinfer.store import Store
from sqlinfer.types import Completion, Engine, ModelVersion, Request


class Runtime:
    """Finds models, asks engines, keeps answers.

    model: the model of calls that name none; None leaves it to the registry. open_engine: how an engine is had
    for a model version. asking: held while questions are asked, so that each is asked once.
    """

    def __init__(self, store: Store, functions: Functions, model: str | None = None) -> None:
        self.store = store
        self.functions = functions
        self.model = model
        self.asking = threading.Lock()
        self.num_sessions = 0
        self.counting = threading.RLock()  # the garbage collector may close a session at any place
        self.open_engine: Callable[[ModelVersion], Engine] = get_engine

    def origin(self, function: Function, model: str | None, task: str) -> Origin:
        """Who answers a function's calls; model: a name as the user wrote it, or None."""
        name = model or self.model or self.store.registry.default(task)
        return Origin(function, self.store.registry.get(name))

    def infer(
        self, version: ModelVersion, asked: Iterator[tuple[Origin, Request]], cancel: threading.Event
    ) -> Iterator[Completion]:
        """Ask one model version; every answer is kept as it finishes, then handed on."""
        asking = Asking(self.store, asked, cancel)
        with closing(asking.rounds()) as rounds:
            for requests in rounds:
                for completion in self.open_engine(version).generate(requests, cancel):
                    asking.keep(completion, version)
                    yield completion
