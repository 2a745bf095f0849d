"""Embeddings: many texts in one request, and the vectors of its answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlinfer.remote.exchange import ServerError
from sqlinfer.remote.remote_model import RemoteModel
from sqlinfer.remote.trial import Trial
from sqlinfer.types import AnyRequest, Completion, Embed, Embedding

PATH = "embeddings"
_MOST_TEXTS = 64
_MOST_CHARACTERS = 100_000
_ASKS = 3
"""Of a batch whose answer has not a vector for each text."""
_SHORTER = 0.75


def batches(requests: Iterable[AnyRequest]) -> Iterator[list[AnyRequest]]:
    """Requests as they go out: texts to embed many at a time, all others one by one."""
    batch: list[AnyRequest] = []
    characters = 0
    for request in requests:
        if not isinstance(request, Embed):
            yield [request]
            continue
        if batch and (len(batch) == _MOST_TEXTS or characters + len(request.text) > _MOST_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(request)
        characters += len(request.text)
    if batch:
        yield batch


async def embed(model: RemoteModel, batch: Sequence[Embed], trial: Trial) -> list[Completion]:
    """The completions of a batch. One that is refused is asked in halves, down to the text that does it. Raises
    ServerError for what is about all texts."""
    texts = [request.text for request in batch]
    try:
        return await embed_texts(model, batch, texts)
    except ServerError as error:
        await trial.check(error)
        if error.kind != "refused":
            raise
        if len(batch) > 1:
            middle = len(batch) // 2
            return [*await embed(model, batch[:middle], trial), *await embed(model, batch[middle:], trial)]
        if batch[0].overflow == "truncate" and error.is_about_length:
            return [await _embed_beginning(model, batch[0], error)]
        return [Completion(batch[0], error=str(error), finish_reason="error")]


async def _embed_beginning(model: RemoteModel, request: Embed, error: ServerError) -> Completion:
    """The completion of as much of a text as fits."""
    text = request.text
    while text := text[: int(len(text) * _SHORTER)]:
        try:
            (completion,) = await embed_texts(model, [request], [text])
        except ServerError as again:
            if not again.is_about_length:
                raise
        else:
            return replace(completion, truncated=True)
    return Completion(request, error=str(error), finish_reason="error")


async def embed_texts(model: RemoteModel, batch: Sequence[Embed], texts: Sequence[str]) -> list[Completion]:
    """Completions, with the tokens and the cost of all divided by the lengths of the texts."""
    spending, body = model.spending(), {"model": model.source.model, "input": texts}
    tokens = sum(map(model.count_tokens, texts))
    for _ in range(_ASKS):
        reply = await model.server.ask(PATH, body, model.flow, tokens)
        spending.add(reply.content, "\n".join(texts), "")
        if (vectors := read_vectors(reply.content, len(texts))) is not None:
            break
    else:
        raise ServerError(f"{model.source.host} gave no vector of numbers for each of {len(texts)} texts", "broken")
    shares = [len(text) / max(1, sum(map(len, texts))) for text in texts]
    read = [round(spending.prompt_tokens * share) for share in shares]
    read[0] += spending.prompt_tokens - sum(read)
    cost = [None if spending.cost is None else spending.cost * share for share in shares]
    rows = zip(batch, vectors, read, cost, strict=True)
    snapshot = spending.snapshot
    return [Completion(req, Embedding(v), prompt_tokens=r, cost=c, snapshot=snapshot) for req, v, r, c in rows]


def read_vectors(content: Mapping[str, Any], num_texts: int) -> list[list[float]] | None:
    """The vectors of an answer, in the order of the texts; None unless there is one of the same width for each."""
    items = content.get("data")
    if not isinstance(items, list) or len(items) != num_texts or not all(isinstance(item, dict) for item in items):
        return None
    by_index = {item.get("index", at): item.get("embedding") for at, item in enumerate(items)}
    vectors = [by_index.get(at) for at in range(num_texts)]
    if not all(isinstance(vector, list) and vector and all(map(_is_number, vector)) for vector in vectors):
        return None
    same_width = len({len(vector) for vector in vectors if vector is not None}) == 1
    return [vector for vector in vectors if vector is not None] if same_width else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
