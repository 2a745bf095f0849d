"""Whether a model answers a request that nothing is wrong with. Knows no prompts.

What servers say of a model that they do not know, or that a key may not use, has no common status and no common words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from sqlinfer.remote.exchange import ServerError
from sqlinfer.remote.remote_model import RemoteModel
from sqlinfer.remote.server import with_hint


class Trial:
    """One plain request a job, sent after the first refusal. ask: sends it, and raises ServerError."""

    def __init__(self, model: RemoteModel, ask: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._model = model
        self._ask = ask
        self._task: asyncio.Task[object] | None = None

    async def check(self, error: ServerError) -> None:
        """Raise ServerError of kind "unusable" if a refusal is not about its request: the plain one is refused too."""
        if error.kind != "refused" or error.is_about_length:
            return
        self._task = self._task or asyncio.create_task(self._ask())
        try:
            await asyncio.shield(self._task)  # others wait for it too
        except ServerError as plain:
            if plain.kind != "refused":
                return
            model = self._model.source.model
            message = with_hint(str(error), f"A plain request to {model!r} is refused too.")
            hint = await self._model.server.models_hint(model, self._model.flow)
            raise ServerError(with_hint(message, hint), "unusable", error.status) from error
