"""The running batch of a decoder-only model on the CPU: tokens are packed, so that no product is spent on padding.

What prompts begin with is read once, within a batch and from one batch to the next. Knows no sampling: it turns token
ids into logits.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence as Series
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sqlinfer.engine.attention.packed_decoder import ForwardContext, Unsupported, forward
from sqlinfer.engine.cache import padded_cache as kv
from sqlinfer.engine.cache.length_bucket import LengthBucket, SharedPrefix, States
from sqlinfer.engine.cache.prefix_tree import Segment, choose_shared_prefixes, split
from sqlinfer.engine.model.cpu_linear import tolerance
from sqlinfer.engine.sequence import Sequence

NEEDED = ("position_ids", "logits_to_keep")


@dataclass(frozen=True, slots=True, eq=False)
class _Prefilled:
    """A row that was read and has no place in the cache yet; one that its prompt alone answers never needs it.

    last: the segment that its text ends with. done: the pass that read it.
    """

    row: Sequence
    text: list[int]
    last: Segment
    done: ForwardContext


class PackedBatch:
    """Sequences in flight with their cache; those of one bucket are neighbours, and those that just joined are last."""

    can_merge = True
    is_packed = True

    def __init__(self, model: Any) -> None:
        self.model = model
        self.rows: list[Sequence] = []
        self._num_layers = int(model.config.get_text_config(decoder=True).num_hidden_layers)
        self._read: list[int] = []  # the last prompt, and its keys and values for each layer
        self._read_states: list[States] = []
        self.clear()

    def clear(self) -> None:
        """Drop all rows and their memory."""
        self.rows = []
        self._cohorts: list[LengthBucket] = []
        self._prefilled: list[_Prefilled] = []

    @torch.inference_mode()
    def join(self, rows: list[Sequence]) -> torch.Tensor:
        """Prefill new rows and add them to the batch. Returns their logits (rows, vocab)."""
        texts = [row.history for row in rows]
        every, last = split(texts, self._read, partial(_view, self._read_states))
        done = ForwardContext([], every)
        logits = self._forward(done, *_read_by(every), [segment.end - 1 for segment in last])
        joined = [_Prefilled(*each, done) for each in zip(rows, texts, last, strict=True)]
        self._remember(max(joined, key=lambda one: one.text))  # the next ones come in this order too
        self._prefilled += joined
        self.rows = self.rows + rows
        for row in rows:
            row.num_uncomputed_tokens = 0
        return logits

    @torch.inference_mode()
    def step(self) -> torch.Tensor:
        """Feed each row all that it has not read. Returns the logits (rows, vocab) of the next token."""
        if self._prefilled:
            self._settle()
        width = max(row.num_uncomputed_tokens or 1 for row in self.rows)
        feeds = {id(row): row.feeds(width)[0] for row in self.rows}
        single = [c for c in self._cohorts if all(len(feeds[id(row)]) == 1 for row in c.rows)]
        several = [c for c in self._cohorts if c not in single]
        order = [id(row) for bucket in (*single, *several) for row in bucket.rows]
        first = sum(len(bucket.rows) for bucket in single)
        places = [(bucket, place) for bucket in several for place in range(len(bucket.rows))]
        segments = _continued(
            [
                (partial(bucket.view, place=place), bucket.lengths[place], feeds[row])
                for (bucket, place), row in zip(places, order[first:], strict=True)
            ],
            first,
        )
        for bucket in self._cohorts:
            bucket.grow([len(feeds[id(row)]) for row in bucket.rows])
            bucket.prepare(self.model.device, self.model.dtype)
        done = ForwardContext(single, segments)
        ids, places_of = _read_by(segments)
        ids = [feeds[row][0] for row in order[:first]] + ids
        places_of = [length - 1 for bucket in single for length in bucket.lengths] + places_of
        logits = self._forward(done, ids, places_of, [*range(first), *(segment.end - 1 for segment in segments)])
        for segment, (bucket, place) in zip(segments, places, strict=True):
            for layer in range(self._num_layers):
                bucket.write(layer, place, done.states(layer, segment))
        return logits if not several else logits[[order.index(id(row)) for row in self.rows]]

    @torch.inference_mode()
    def read(self, lines: list[int], feeds: list[list[int]]) -> torch.Tensor:
        """Logits (feeds, longest feed, vocab) after each token of feeds that continue lines; the batch stays.

        The rows of the lines have joined since the last step.
        """
        joined = {id(one.row): one for one in self._prefilled}
        rows = {line: joined[id(self.rows[line])] for line in set(lines)}
        roots = {
            line: (partial(_view, [_joined(pieces) for pieces in self._states(one)]), len(one.text))
            for line, one in rows.items()
        }
        segments = _continued([(*roots[line], feed) for line, feed in zip(lines, feeds, strict=True)], 0)
        longest = max(map(len, feeds))
        wanted = [min(segment.start + i, segment.end - 1) for segment in segments for i in range(longest)]
        return self._forward(ForwardContext([], segments), *_read_by(segments), wanted).view(len(feeds), longest, -1)

    @torch.inference_mode()
    def keep(self, rows: list[Sequence], lines: list[int]) -> None:  # noqa: ARG002 - a row has one line and stays it
        """Go on with these rows only."""
        if not rows:
            return self.clear()
        if len(rows) < len(self.rows):
            wanted = set(map(id, rows))
            for bucket in self._cohorts:
                bucket.keep(wanted)
            self._cohorts = [bucket for bucket in self._cohorts if bucket.rows]
            self._prefilled = [one for one in self._prefilled if id(one.row) in wanted]
        self._put_in_order()
        return None

    def _put_in_order(self) -> None:
        self.rows = [row for bucket in self._cohorts for row in bucket.rows]
        self.rows += [one.row for one in self._prefilled]

    def _settle(self) -> None:
        """Put the rows that joined into buckets, of which some may be new."""
        joined, self._prefilled = self._prefilled, []
        known = {bucket.beginning.tokens: bucket.beginning for bucket in self._cohorts if bucket.beginning}
        running = Counter[tuple[int, ...]]()
        for bucket in self._cohorts:
            if bucket.beginning:
                running[bucket.beginning.tokens] += len(bucket.rows)
        shared = choose_shared_prefixes([one.text for one in joined], [one.last for one in joined], running)
        added: dict[int, list[list[list[States]]]] = {}
        for one, tokens in zip(joined, shared, strict=True):
            states = self._states(one)
            if tokens is not None and tokens not in known:
                known[tokens] = SharedPrefix(tokens, [_first(pieces, len(tokens)) for pieces in states])
            bucket = _cohort(self._cohorts, len(one.text), known[tokens] if tokens else None)
            bucket.add(one.row, len(one.text))
            added.setdefault(id(bucket), []).append(states)
        for bucket in self._cohorts:
            if id(bucket) in added:
                bucket.fill(added[id(bucket)])
        self._put_in_order()

    def _states(self, one: _Prefilled) -> list[list[States]]:
        """For each layer the keys and values of a whole text, in pieces."""
        chain = one.last.chain()
        root, depth = chain[0].root, chain[0].depth
        return [
            [*([root(layer, depth)] if root else []), *(one.done.states(layer, segment) for segment in chain)]
            for layer in range(self._num_layers)
        ]

    def _remember(self, one: _Prefilled) -> None:
        """Keep what was read of a text, for texts to come that begin like it."""
        self._read_states = [_joined(pieces) for pieces in self._states(one)]
        self._read = one.text

    def _forward(self, done: ForwardContext, ids: list[int], places: list[int], wanted: list[int]) -> torch.Tensor:
        """Logits (wanted, vocab) after some of the ids of a pass, given the place of each in its text."""
        parts = (torch.tensor(part, device=self.model.device) for part in (ids, places, wanted))
        return forward(self.model, done, *parts)


def _cohort(buckets: list[LengthBucket], length: int, beginning: SharedPrefix | None) -> LengthBucket:
    """The bucket of a new row, which may be a new one."""
    found = next((bucket for bucket in buckets if bucket.takes(length, beginning)), None)
    if found is None:
        found = LengthBucket(beginning)
        buckets.append(found)
    return found


def _read_by(segments: Series[Segment]) -> tuple[list[int], list[int]]:
    """The token ids of segments, and the place of each in its text."""
    ids = [token for segment in segments for token in segment.tokens]
    return ids, [segment.depth + i for segment in segments for i in range(len(segment.tokens))]


def _continued(feeds: Series[tuple[Callable[..., States], int, list[int]]], start: int) -> list[Segment]:
    """Segments of feeds, each after what holds the tokens before it and their number; the first starts at start."""
    segments = []
    for root, depth, feed in feeds:
        segments.append(Segment(feed, depth, root=root, start=start))
        start += len(feed)
    return segments


def _view(states: list[States], layer: int, length: int) -> States:
    """The first keys and values of a text."""
    keys, values = states[layer]
    return keys[:, :length], values[:, :length]


def _joined(pieces: list[States]) -> States:
    keys, values = (torch.cat(part, dim=1) for part in zip(*pieces, strict=True))
    return keys, values


def _first(pieces: list[States], count: int) -> States:
    """A copy of the first keys and values, which does not hold the others in memory."""
    keys, values = _joined(pieces)
    return keys[:, :count].clone(), values[:, :count].clone()


def find_obstacle(model: Any) -> str:
    """Why the tokens of a model cannot be packed; "" if they can, which is tried out on two short texts."""
    return find_unfit(model) or _try_out(model)


def find_unfit(model: Any) -> str:
    """Why the tokens of a model cannot be packed, as far as its configuration and its arguments tell."""
    accepted = inspect.signature(model.forward).parameters
    if not kv.has_plain_cache(model.config):
        return "it keeps states other than keys and values"
    if kv.has_windows(model.config):
        return "its attention has windows"
    if any(name not in accepted for name in NEEDED):
        return "its positions are its own"
    return ""


def _try_out(model: Any) -> str:
    texts = [[7, 3, 5, 4, 6], [4, 6, 9]]
    every, last = split(texts, [], None)
    done = ForwardContext([], every)
    batch = PackedBatch(model)
    with torch.inference_mode():
        try:
            found = batch._forward(done, *_read_by(every), [segment.end - 1 for segment in last])
        except (Unsupported, TypeError, ValueError, KeyError, AttributeError) as error:
            return f"its attention is of another kind ({error})"
        is_same = is_plain(model, found, texts)
    return "" if is_same and done.num_calls == batch._num_layers else "its attention is of another kind"


def is_plain(model: Any, found: torch.Tensor, texts: Series[list[int]]) -> bool:
    """Whether logits (texts, vocab) are those that the model gives by itself after each text, but for rounding."""
    ids = [torch.tensor([text], device=model.device) for text in texts]
    plain = torch.cat([model(input_ids=one, use_cache=False).logits[:, -1] for one in ids])
    most = tolerance(model) * float(plain.float().abs().max())
    return torch.allclose(found.float(), plain.float(), rtol=0, atol=most)
