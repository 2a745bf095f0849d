"""An Engine whose model lies behind an address: requests go out one a row, as many at a time as the server bears.

Knows no store and no SQL.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

from sqlinfer.config.remote_source import read_remote_source
from sqlinfer.errors import ModelUnusable
from sqlinfer.remote.abilities import abilities_of
from sqlinfer.remote.chat import first_message, schema_of
from sqlinfer.remote.conversation import Conversation
from sqlinfer.remote.embeddings import batches, embed, embed_texts
from sqlinfer.remote.event_loop import submit
from sqlinfer.remote.exchange import ServerError
from sqlinfer.remote.keys import has_key
from sqlinfer.remote.long_texts import cut_points
from sqlinfer.remote.prices import find_price
from sqlinfer.remote.remote_model import RemoteModel
from sqlinfer.remote.tokens import MESSAGE_TOKENS, prompt_text, token_counter
from sqlinfer.remote.trial import Trial
from sqlinfer.types import (
    AnyRequest,
    Cancel,
    Choose,
    Completion,
    Count,
    CountTokens,
    Cuts,
    Embed,
    Generate,
    ModelVersion,
    Parameters,
    SplitText,
)

_POLL_S = 0.05
_PLAIN_CHAT = Generate("Hi", parameters=Parameters(max_tokens=16))
_PLAIN_TEXT = Embed("Hi")


class RemoteEngine:
    """Asks one model of one server.

    version: among its settings max_retries, timeout, max_in_flight, requests_per_minute and tokens_per_minute.
    """

    def __init__(self, version: ModelVersion) -> None:
        self._model = model = RemoteModel.of(version)
        self._chat_trial = Trial(model, lambda: Conversation(model, _PLAIN_CHAT).answer())
        self._embedding_trial = Trial(model, lambda: embed_texts(model, [_PLAIN_TEXT], [_PLAIN_TEXT.text]))

    def generate(self, requests: Iterable[AnyRequest], cancel: Cancel | None = None) -> Iterator[Completion]:
        """Yield one completion a request, in order of finishing. See Engine.

        Raises ModelUnusable where no request could be answered: for a wrong key, model or address.
        """
        stop = cancel or threading.Event()
        waiting = batches(requests)
        running: dict[Future[list[Completion]], Sequence[AnyRequest]] = {}
        finished: queue.SimpleQueue[Future[list[Completion]]] = queue.SimpleQueue()
        try:
            while not stop.is_set():
                while len(running) < self._model.server.room(self._model.flow) and (batch := next(waiting, None)):
                    future = submit(self._answer(batch))
                    running[future] = batch
                    future.add_done_callback(finished.put)
                if not running:
                    return
                try:
                    future = finished.get(timeout=_POLL_S)
                except queue.Empty:
                    _cancel_abandoned(running)
                else:
                    yield from _completions(future, running.pop(future))
        finally:
            for future in running:
                future.cancel()

    async def _answer(self, batch: Sequence[AnyRequest]) -> list[Completion]:
        model, request = self._model, batch[0]
        if all(each.is_cancelled() for each in batch):
            return [Completion(each, finish_reason="cancelled") for each in batch]
        try:
            match request:
                case Embed():
                    texts = [each for each in batch if isinstance(each, Embed)]
                    return await embed(model, texts, self._embedding_trial)
                case Generate() | Choose():
                    return [await self._chat(request)]
                case CountTokens():
                    return [Completion(request, Count(model.count_tokens(request.text)))]
                case SplitText():
                    models = await model.server.models(model.flow)
                    cuts = cut_points(request, models.get(model.source.model, {}), model.count_tokens)
                    return [Completion(request, Cuts(cuts))]
                case _:
                    return [Completion(request, error=unsupported_reason_of(request), finish_reason="error")]
        except ServerError as error:
            if error.kind in ("unusable", "unreachable", "unresolved"):
                raise ModelUnusable(str(error)) from error
            may_pass = error.kind != "refused"
            return [Completion(each, error=str(error), finish_reason="error", is_retryable=may_pass) for each in batch]

    async def _chat(self, request: Generate | Choose) -> Completion:
        try:
            return await Conversation(self._model, request).answer()
        except ServerError as error:
            await self._chat_trial.check(error)
            raise


def unsupported_reason_of(request: AnyRequest) -> str:
    """Why no model behind an address answers such a request; "" if some do."""
    if isinstance(request, Generate) and request.is_prompt:
        return "lies behind an address and takes chats, no prompt as it is"
    if request.files:
        return "lies behind an address, and images are sent to no server: ask a model of this machine"
    if isinstance(request, Generate | Choose | Embed | CountTokens | SplitText):
        return ""
    return "lies behind an address and writes text: ai_query asks it, and ai_classify with labels classifies"


def unsupported_reason(version: ModelVersion, request: AnyRequest) -> str:
    """Why a model cannot answer such a request, to follow its name; "" if it can."""
    if version.task == "embed" and isinstance(request, Generate | Choose | SplitText):
        return "is registered to embed: ai_embed asks it"
    if version.task in ("generate", "summarize") and isinstance(request, Embed):
        return f"is registered for {version.task} and embeds nothing"
    return unsupported_reason_of(request)


def count_prompt_tokens(version: ModelVersion, requests: Sequence[AnyRequest]) -> list[int]:
    """Tokens of each prompt, by an estimate."""
    count = token_counter(read_remote_source(version.source).model)
    around = [MESSAGE_TOKENS if isinstance(request, Generate | Choose) else 0 for request in requests]
    return [count(read_prompt(version, each)) + more for each, more in zip(requests, around, strict=True)]


def read_prompt(version: ModelVersion, request: AnyRequest) -> str:
    """The message that a request is sent as."""
    if not isinstance(request, Generate | Choose):
        return prompt_text(request)
    abilities = abilities_of(read_remote_source(version.source))
    return first_message(request, request.text, abilities.takes("response_format", schema_of(request)))["content"]


def cost(version: ModelVersion, prompt_tokens: int, completion_tokens: int) -> float | None:
    """US dollars for so many tokens; None if no price of the model is known."""
    price = find_price(read_remote_source(version.source))
    return None if price is None else price.of(prompt_tokens, completion_tokens)


def describe(version: ModelVersion) -> dict[str, Any]:
    """Where a model is and how it is asked, for people; never the key."""
    source, price = read_remote_source(version.source), cost(version, 1_000_000, 0)
    return {
        "base_url": source.url,
        "remote_model": source.model,
        "key_from": " or ".join(reversed(source.key_variables)),
        "has_key": has_key(source),
        "price_of_input": price,
    }


def _cancel_abandoned(running: dict[Future[list[Completion]], Sequence[AnyRequest]]) -> None:
    for future, batch in running.items():
        if all(request.is_cancelled() for request in batch):
            future.cancel()


def _completions(future: Future[list[Completion]], batch: Sequence[AnyRequest]) -> list[Completion]:
    try:
        return future.result()
    except CancelledError:
        return [Completion(request, finish_reason="cancelled") for request in batch]
