"""The running batch of a decoder-only model on the CPU: tokens are packed, so that no product is spent on padding.

What prompts begin with is read once, within a batch and from one batch to the next. Knows no sampling: it turns token
ids into logits.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence as Series
from functools import partial
from typing import Any

import torch

from sqlinfer.engine import kv
from sqlinfer.engine.attention import Pass, Unsupported, forward
from sqlinfer.engine.cohort import Beginning, Cohort, States
from sqlinfer.engine.segments import Segment, beginnings, split
from sqlinfer.engine.sequence import Sequence

NEEDED = ("position_ids", "logits_to_keep")
PROBE_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.05}  # of the largest logit


class PackedBatch:
    """Sequences in flight with their cache; those of one cohort are neighbours."""

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
        self._cohorts: list[Cohort] = []

    @torch.inference_mode()
    def join(self, rows: list[Sequence]) -> torch.Tensor:
        """Prefill new rows and add them to the batch. Returns their logits (rows, vocab)."""
        texts = [row.history for row in rows]
        every, last = split(texts, self._read, self._read_view)
        done = Pass([], every)
        logits = self._forward(done, *_read_by(every), [segment.end - 1 for segment in last])
        states = [self._states(done, segment) for segment in last]
        running, cohorts = self.rows, self._cohorts
        self.clear()  # memory that runs out in between leaves no row behind
        self._add(cohorts, rows, last, states)
        longest = max(range(len(texts)), key=lambda i: texts[i])  # the next ones come in this order too
        self._remember(texts[longest], states[longest])
        self.rows, self._cohorts = running + rows, cohorts
        return logits

    @torch.inference_mode()
    def step(self) -> torch.Tensor:
        """Feed each row all that it has not read. Returns the logits (rows, vocab) of the next token."""
        width = max(row.num_unread or 1 for row in self.rows)
        feeds = {id(row): row.feeds(width)[0] for row in self.rows}
        single = [c for c in self._cohorts if all(len(feeds[id(row)]) == 1 for row in c.rows)]
        several = [c for c in self._cohorts if c not in single]
        order = [id(row) for cohort in (*single, *several) for row in cohort.rows]
        first = sum(len(cohort.rows) for cohort in single)
        places = [(cohort, place) for cohort in several for place in range(len(cohort.rows))]
        segments = _continued([(*at, feeds[row]) for at, row in zip(places, order[first:], strict=True)], first)
        for cohort in self._cohorts:
            cohort.grow([len(feeds[id(row)]) for row in cohort.rows])
            cohort.prepare(self.model.device, self.model.dtype)
        done = Pass(single, segments)
        ids, places_of = _read_by(segments)
        ids = [feeds[row][0] for row in order[:first]] + ids
        places_of = [length - 1 for cohort in single for length in cohort.lengths] + places_of
        logits = self._forward(done, ids, places_of, [*range(first), *(segment.end - 1 for segment in segments)])
        for segment, (cohort, place) in zip(segments, places, strict=True):
            for layer in range(self._num_layers):
                cohort.write(layer, place, done.states(layer, segment))
        return logits if not several else logits[[order.index(id(row)) for row in self.rows]]

    @torch.inference_mode()
    def read(self, lines: list[int], feeds: list[list[int]]) -> torch.Tensor:
        """Logits (feeds, longest feed, vocab) after each token of feeds that continue lines; the batch stays."""
        at = {id(row): (cohort, place) for cohort in self._cohorts for place, row in enumerate(cohort.rows)}
        segments = _continued([(*at[id(self.rows[line])], feed) for line, feed in zip(lines, feeds, strict=True)], 0)
        longest = max(map(len, feeds))
        wanted = [min(segment.start + i, segment.end - 1) for segment in segments for i in range(longest)]
        return self._forward(Pass([], segments), *_read_by(segments), wanted).view(len(feeds), longest, -1)

    @torch.inference_mode()
    def keep(self, rows: list[Sequence], lines: list[int]) -> None:  # noqa: ARG002 - a row has one line and stays it
        """Go on with these rows only."""
        if not rows:
            return self.clear()
        if len(rows) < sum(len(cohort.rows) for cohort in self._cohorts):
            wanted = set(map(id, rows))
            for cohort in self._cohorts:
                cohort.keep(wanted)
            self._cohorts = [cohort for cohort in self._cohorts if cohort.rows]
        self.rows = [row for cohort in self._cohorts for row in cohort.rows]
        return None

    def _add(
        self, cohorts: list[Cohort], rows: list[Sequence], last: list[Segment], states: list[list[list[States]]]
    ) -> None:
        """Put rows into cohorts, of which some may be new. states: of each row, for each layer, in pieces."""
        texts = [row.history for row in rows]
        known = {cohort.beginning.tokens: cohort.beginning for cohort in cohorts if cohort.beginning}
        running = Counter[tuple[int, ...]]()
        for cohort in cohorts:
            if cohort.beginning:
                running[cohort.beginning.tokens] += len(cohort.rows)
        added: dict[int, list[list[list[States]]]] = {}
        for row, text, tokens, one in zip(rows, texts, beginnings(texts, last, running), states, strict=True):
            if tokens is not None and tokens not in known:
                known[tokens] = Beginning(tokens, [_first(pieces, len(tokens)) for pieces in one])
            cohort = _cohort(cohorts, len(text), known[tokens] if tokens else None)
            cohort.add(row, len(text))
            added.setdefault(id(cohort), []).append(one)
            row.num_unread = 0
        for cohort in cohorts:
            if id(cohort) in added:
                cohort.fill(added[id(cohort)])

    def _states(self, done: Pass, last: Segment) -> list[list[States]]:
        """For each layer the keys and values of a whole text, in pieces."""
        chain = last.chain()
        root, depth = chain[0].root, chain[0].depth
        return [
            [*([root(layer, depth)] if root else []), *(done.states(layer, segment) for segment in chain)]
            for layer in range(self._num_layers)
        ]

    def _remember(self, text: list[int], states: list[list[States]]) -> None:
        """Keep what was read of a text, for texts to come that begin like it."""
        self._read_states = [_joined(pieces) for pieces in states]
        self._read = text

    def _read_view(self, layer: int, length: int) -> States:
        keys, values = self._read_states[layer]
        return keys[:, :length], values[:, :length]

    def _forward(self, done: Pass, ids: list[int], places: list[int], wanted: list[int]) -> torch.Tensor:
        """Logits (wanted, vocab) after some of the ids of a pass, given the place of each in its text."""
        parts = (torch.tensor(part, device=self.model.device) for part in (ids, places, wanted))
        return forward(self.model, done, *parts)


def _cohort(cohorts: list[Cohort], length: int, beginning: Beginning | None) -> Cohort:
    """The cohort of a new row, which may be a new one."""
    found = next((cohort for cohort in cohorts if cohort.takes(length, beginning)), None)
    if found is None:
        found = Cohort(beginning)
        cohorts.append(found)
    return found


def _read_by(segments: Series[Segment]) -> tuple[list[int], list[int]]:
    """The token ids of segments, and the place of each in its text."""
    ids = [token for segment in segments for token in segment.tokens]
    return ids, [segment.depth + i for segment in segments for i in range(len(segment.tokens))]


def _continued(feeds: Series[tuple[Cohort, int, list[int]]], start: int) -> list[Segment]:
    """Segments of feeds that continue the rows at places in cohorts; the first one starts at start."""
    segments = []
    for cohort, place, feed in feeds:
        root = partial(cohort.view, place=place)
        segments.append(Segment(feed, cohort.lengths[place], root=root, start=start))
        start += len(feed)
    return segments


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
    done = Pass([], every)
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
    tolerance = PROBE_TOLERANCE[model.dtype] * float(plain.float().abs().max())
    return torch.allclose(found.float(), plain.float(), rtol=0, atol=tolerance)
