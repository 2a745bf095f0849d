"""What the connections of one session share: functions, store, settings, and the way to the engines."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from sqlinfer.backends import backend_of, open_engine
from sqlinfer.config.job_settings import SettingsLayers
from sqlinfer.config.process_settings import environment
from sqlinfer.errors import ModelUnusable, SqlinferError
from sqlinfer.functions import Function, Functions
from sqlinfer.inference.keyed_request import Route
from sqlinfer.inference.retry import ask
from sqlinfer.inference.single_flight import SingleFlight
from sqlinfer.store import Store
from sqlinfer.types import AnyRequest, Completion, Engine, ModelVersion

_FALLBACK = (
    "No model is named: {} answers, a tiny model for trying things. To choose another: --model NAME, "
    "model := 'NAME' in the call, or sqlinfer models default NAME"
)
_SHOWN = 8
_log = logging.getLogger("sqlinfer")  # to stderr, unless the program says otherwise


class Runtime:
    """Finds models, asks engines, keeps answers.

    model: the model of calls that name none; None leaves it to the registry. settings: of the jobs. open_engine: how
    an engine is had for a model version. asking: held while questions are asked, so that each is asked once.
    batch_fill: how full the engine's batch was last, 0..1.
    """

    def __init__(
        self, store: Store, functions: Functions, model: str | None = None, settings: SettingsLayers | None = None
    ) -> None:
        self.store = store
        self.functions = functions
        self.model = model
        self.settings = settings or SettingsLayers()
        self.asking = threading.Lock()
        self.batch_fill = 0.0
        self.num_sessions = 0
        self._told: set[str] = set()
        self.counting = threading.RLock()  # the garbage collector may close a session at any place
        self.open_engine: Callable[[ModelVersion], Engine] = open_engine

    def origin(self, function: Function, model: str | None, task: str) -> Route:
        """Who answers a function's calls; model: a name as the user wrote it, or None."""
        name = model or self.model or self._default(task)
        return Route(function, self.store.registry.get(name))

    def check_kind(self, origin: Route, request: AnyRequest) -> None:
        """Raise ModelUnusable, which names models that would do, if the model's kind cannot answer such a request."""
        if reason := backend_of(origin.version).unsupported_reason(origin.version, request):
            others = [model.name for model in self.store.registry.list() if _fits(model, request)]
            do = (
                f"Models that do: {', '.join(others[:_SHOWN])}. Name one: model := {others[0]!r}"
                if others
                else "None of the registered ones does: sqlinfer models register NAME SOURCE"
            )
            raise ModelUnusable(f"{origin.function.name}: model {origin.version} {reason}. {do}")

    def embedding_width(self, model: str | None) -> int | None:
        """Numbers in an embedding by a model, or by the default one; None if it is none that embeds."""
        try:
            version = self.store.registry.get(model or self.model or self._default("embed"))
            return backend_of(version).embedding_width(version)
        except SqlinferError:  # said where the model is asked
            return None

    def _default(self, task: str) -> str:
        """The registry's model for a task. A built-in one that nobody chose answers only after a word about it."""
        name = self.store.registry.default(task)
        if self.store.registry.chosen_default(task) is None:
            self._tell(_FALLBACK.format(name))
        return name

    def _tell(self, word: str) -> None:
        """Log a word once."""
        if word not in self._told:
            self._told.add(word)
            _log.warning(word)

    def infer(
        self,
        version: ModelVersion,
        asked: Iterator[tuple[Route, AnyRequest]],
        cancel: threading.Event,
        deadline_s: float | None = None,
    ) -> Generator[Completion]:
        """Ask one model version, until time.monotonic() is deadline_s; every answer is kept as it finishes, then
        handed on."""
        settings = self.settings.over(version.settings)
        asking = SingleFlight(self.store, asked, cancel)
        with environment(settings.environment), closing(asking.rounds()) as rounds:
            if settings.mini_batch_size is not None:
                self._tell("mini_batch_size changes nothing: batches are filled by tokens, as far as the memory goes")
            for requests in rounds:
                engine = self.open_engine(version)
                for completion in ask(engine, requests, settings, cancel, deadline_s):
                    self.batch_fill = getattr(engine, "batch_fill", 0.0)
                    asking.keep(completion, version)
                    yield completion
                if deadline_s is not None and time.monotonic() > deadline_s:
                    return


def _fits(version: ModelVersion, request: AnyRequest) -> bool:
    """Whether a model's kind can answer a request; one that cannot be read does not."""
    try:
        return not backend_of(version).unsupported_reason(version, request)
    except ModelUnusable:
        return False
