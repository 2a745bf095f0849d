"""What the connections of one session share: functions, store, settings, and the way to the engines."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from sqlinfer.backends import backend_of, open_engine
from sqlinfer.config.job_settings import SettingsLayers
from sqlinfer.errors import ModelUnusable, SqlinferError
from sqlinfer.functions import Functions
from sqlinfer.inference.keyed_request import Route
from sqlinfer.store import Store
from sqlinfer.types import AnyRequest, Engine, ModelVersion, Predict

_FALLBACK = (
    "No model given; using {}, a toy model for demos. To choose another: {}, model := 'NAME' in the call, or "
    "sqlinfer models default NAME"
)
_SHOWN = 8
_log = logging.getLogger("sqlinfer")  # to stderr, unless the program says otherwise


class Runtime:
    """Finds models, runs engines, keeps answers.

    model: the model of calls that name none; None leaves it to the registry.
    settings: of the jobs.
    open_engine: how an engine is had for a model version.
    inference_lock: held while requests are computed, so that each is computed once.
    """

    def __init__(
        self, store: Store, functions: Functions, model: str | None = None, settings: SettingsLayers | None = None
    ) -> None:
        self.store = store
        self.functions = functions
        self.model = model
        self.settings = settings or SettingsLayers()
        self.inference_lock = threading.Lock()
        self._how_to_choose = "sqlinfer.connect(model='NAME')"
        self._num_sessions = 0
        self._stand_in: tuple[frozenset[str], str] = (frozenset(), "")
        self._warnings: set[str] = set()
        self._counting = threading.RLock()  # the garbage collector may close a session at any place
        self.open_engine: Callable[[ModelVersion], Engine] = open_engine

    def advise(self, how_to_choose: str) -> None:
        """Say how a user chooses a model where this runtime is used."""
        self._how_to_choose = how_to_choose

    def retain(self) -> None:
        """Note that one more session uses the store."""
        with self._counting:
            self._num_sessions += 1

    def release(self) -> None:
        """Note that a session is closed; the last one closes the store."""
        with self._counting:
            self._num_sessions -= 1
            is_last = self._num_sessions == 0
        if is_last:
            self.store.close()

    def model_name(self, model: str | None, task: str) -> str:
        """The name of the model that answers calls; model: as the user wrote it, or None for the default."""
        names, stand_in = self._stand_in
        if model in names:
            return stand_in
        return model or self.model or self._default(task)

    @contextmanager
    def standing_in(self, names: Collection[str], model: str) -> Iterator[None]:
        """Let a model answer the calls that name one of some models."""
        before, self._stand_in = self._stand_in, (frozenset(names), model)
        try:
            yield
        finally:
            self._stand_in = before

    def check_kind(self, route: Route, request: AnyRequest) -> None:
        """Raise ModelUnusable, which names models that would do, if the model's kind cannot answer such a request."""
        if reason := backend_of(route.version).unsupported_reason(route.version, request):
            if isinstance(request, Predict):  # another model would do no better with the value
                raise ModelUnusable(f"{route.function.name}: model {route.version} {reason}")
            others = [model.name for model in self.store.registry.list() if _fits(model, request)]
            do = (
                f"Models that do: {', '.join(others[:_SHOWN])}. Name one: model := {others[0]!r}"
                if others
                else "None of the registered ones does: sqlinfer models register NAME SOURCE"
            )
            raise ModelUnusable(f"{route.function.name}: model {route.version} {reason}. {do}")

    def embedding_width(self, model: str | None) -> int | None:
        """Numbers in an embedding by a model, or by the default one; None if it is none that embeds."""
        try:
            version = self.store.registry.get(self.model_name(model, "embed"))
            return backend_of(version).embedding_width(version)
        except SqlinferError:  # raised where the model runs
            return None

    def find_model(self, name: str) -> ModelVersion | None:
        """The version behind a name; None if there is none that can be used."""
        try:
            return self.store.registry.get(self.model_name(name, ""))
        except SqlinferError:  # raised where the model runs
            return None

    def scores_directly(self, version: ModelVersion) -> bool:
        """Whether rows go to a version without keys and cached answers."""
        if version.scorer is None:
            return False
        cached = self.settings.over(version.settings).cached
        return not (version.scorer.loader == "script" if cached is None else cached)

    def _default(self, task: str) -> str:
        """The registry's model for a task. A built-in one that nobody chose answers only after a word about it."""
        name = self.store.registry.defaults.of(task)
        if self.store.registry.defaults.chosen(task) is None:
            self.warn_once(_FALLBACK.format(name, self._how_to_choose))
        return name

    def warn_once(self, warning: str) -> None:
        """Log a warning that was not logged yet."""
        if warning not in self._warnings:
            self._warnings.add(warning)
            _log.warning(warning)


def _fits(version: ModelVersion, request: AnyRequest) -> bool:
    """Whether a model's kind can answer a request; one that cannot be read does not."""
    try:
        return not backend_of(version).unsupported_reason(version, request)
    except ModelUnusable:
        return False
