"""The engines whose worker processes wait for rows between statements."""

from __future__ import annotations

import atexit
import threading

from sqlinfer.config.job_settings import JobSettings
from sqlinfer.scoring.engine import ScoringEngine
from sqlinfer.types import ModelVersion

_OPEN: dict[tuple[object, ...], ScoringEngine] = {}
_OPEN_LOCK = threading.Lock()
_MOST_OPEN = 4


def open_scorer(version: ModelVersion) -> ScoringEngine:
    """The process's engine for a version under its settings; its workers wait for more between statements."""
    settings = JobSettings(**version.settings)
    environment = tuple(sorted(settings.environment.items()))
    bounds = (settings.mini_batch_size, settings.max_concurrency_per_instance, settings.max_retries, settings.timeout)
    key = (version.fingerprint, version.path, bounds, environment)
    with _OPEN_LOCK:
        engine = _OPEN.pop(key, None) or ScoringEngine(version)
        _OPEN[key] = engine
        others = [other for other in _OPEN if other != key and _OPEN[other].is_idle]
        for other in others[: max(0, len(_OPEN) - _MOST_OPEN)]:  # the least recently used
            _OPEN.pop(other).close()
    return engine


@atexit.register
def _close_all() -> None:
    while _OPEN:
        _OPEN.popitem()[1].close()
