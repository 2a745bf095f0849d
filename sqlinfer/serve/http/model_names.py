"""Which models the API serves: the registered and the built-in ones, and the server's own; never a path or hub id."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlinfer.backends import backend_of
from sqlinfer.errors import ModelNotFound, SqlinferError, nearest
from sqlinfer.inference.runtime import Runtime
from sqlinfer.serve.http.errors import ApiError
from sqlinfer.store.names import parse_reference
from sqlinfer.types import AnyRequest, ModelVersion

REMEMBERED_S = 1.0
"""After which a change of the registry holds for calls: looking a name up takes as long as a short answer."""


class ServedModels:
    """The models of a runtime, by name."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._versions: dict[str, tuple[float, ModelVersion]] = {}

    def names(self) -> list[str]:
        """The names, without versions and aliases."""
        names = {model.name for model in self._runtime.store.registry.list()}
        return sorted(names | ({self._runtime.model} if self._runtime.model else set()))

    def version(self, name: str) -> ModelVersion:
        """The version behind a name, as SQL writes it. Raises ApiError that lists the names for another one."""
        looked_up_s, version = self._versions.get(name, (0.0, None))
        if version is None or time.monotonic() - looked_up_s > REMEMBERED_S:
            version = self._look_up(name)
            self._versions[name] = time.monotonic(), version
        return version

    def _look_up(self, name: str) -> ModelVersion:
        self._versions.pop(name, None)
        names = self.names()
        if name not in names and parse_reference(name).name not in names:
            raise _not_found(f"no model {name!r} is served. {nearest(name, names)}")
        try:
            return self._runtime.store.registry.get(name)
        except ModelNotFound as error:
            raise _not_found(str(error)) from None
        except SqlinferError as error:
            raise ApiError(500, str(error), "model") from None


def check_answers(version: ModelVersion, request: AnyRequest) -> None:
    """Raise ApiError if a model cannot answer such a request."""
    try:
        reason = backend_of(version).unsupported_reason(version, request)
    except SqlinferError as error:
        raise ApiError(500, str(error), "model") from None
    if reason:
        raise ApiError(400, f"model {version} {reason}", "model", "unsupported_model")


def describe(name: str) -> Mapping[str, Any]:
    """A model as /v1/models lists it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "sqlinfer"}


def _not_found(message: str) -> ApiError:
    return ApiError(404, message, "model", "model_not_found")
