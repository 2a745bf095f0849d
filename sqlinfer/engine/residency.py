"""Which models have their weights in memory: the least recently used leave when the next does not fit.

A model in use stays, and the next one waits for it. Knows no torch: free memory is measured by the device, and what a
model needs is read from the headers of its files.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from sqlinfer.types import Cancel, ModelVersion

_POLL_S = 0.1


class Resident(Protocol):
    """A model that may be in memory: LoadedModel."""

    version: ModelVersion

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        ...

    @property
    def model(self) -> Any:
        """The weights, which are loaded if they are not."""
        ...

    def fits_memory(self) -> bool:
        """Whether the weights would fit what is free of their device's memory."""
        ...

    def takes_memory_of(self, other: Any) -> bool:
        """Whether the weights are in memory where those of another model will be."""
        ...

    def free_unused_cache(self) -> None:
        """Free what the next batch makes anew."""
        ...

    def leave(self) -> bool:
        """Free the weights, if that can be at once. Whether they are freed."""
        ...


_loading = threading.Lock()  # held while memory is measured and taken
_changed = threading.Condition()
_num_users: WeakKeyDictionary[Resident, int] = WeakKeyDictionary()  # the least recently used first
logger = logging.getLogger(__name__)


def count_users(loaded: Resident, change: int) -> None:
    """Note that so many more use a model, which is the most recently used now."""
    with _changed:
        _num_users[loaded] = _num_users.pop(loaded, 0) + change
        _changed.notify_all()


@contextmanager
def using(loaded: Resident) -> Iterator[None]:
    """Inside, the model stays in memory once it is loaded."""
    count_users(loaded, 1)
    try:
        yield
    finally:
        count_users(loaded, -1)


def load(loaded: Resident, cancel: Cancel | None = None) -> bool:
    """Load the weights of a model, once there is room for them. Whether they are loaded: not if cancel is set before.
    Raises ModelUnusable."""
    while not loaded.is_loaded:
        if cancel is not None and cancel.is_set():
            return False
        if not _loading.acquire(timeout=_POLL_S):
            continue
        try:
            has_room = loaded.is_loaded or _make_room(loaded)
            if has_room:
                _ = loaded.model
        finally:
            _loading.release()
        if not has_room:
            with _changed:
                _changed.wait(_POLL_S)
    return True


def loaded_names() -> set[str]:
    """The models whose weights are in memory."""
    with _changed:
        return {str(loaded.version) for loaded in list(_num_users) if loaded.is_loaded}


def _make_room(loaded: Resident) -> bool:
    """Let models leave that nobody uses, until the next fits. Whether it does, or there is nothing to wait for."""
    with _changed:  # so that nobody begins to use what leaves
        others = [other for other in list(_num_users) if other.takes_memory_of(loaded)]
        for other in others:
            other.free_unused_cache()
        if not others or loaded.fits_memory():
            return True
        for other in others:
            if not _num_users[other] and other.leave():
                logger.info("%s leaves the memory: %s needs it", other.version, loaded.version)
                if loaded.fits_memory():
                    return True
        return not any(other.is_loaded for other in others)  # alone, the model itself says whether it fits
