"""The running batch of a decoder-only model on the CPU: tokens are packed, so that no matmul is spent on padding.

Shared prefixes of prompts are prefilled once, within a batch and from one batch to the next. Knows no sampling: it
turns token ids into logits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence as Series
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sqlinfer.engine.attention.packed_decoder import ForwardContext, concatenate, forward
from sqlinfer.engine.batch.support import matches_plain_forward, unsupported_reason
from sqlinfer.engine.cache.length_bucket import KV, LengthBucket, SharedPrefix
from sqlinfer.engine.cache.prefix_tree import PrefixNode, build_prefix_tree, choose_shared_prefixes
from sqlinfer.engine.sequence import Sequence


@dataclass(frozen=True, slots=True, eq=False)
class _Prefilled:
    """A row that was prefilled and is in no length bucket yet; one that its prompt alone answers never needs one."""

    row: Sequence
    """Its sequence."""
    text: list[int]
    """Its token ids."""
    leaf: PrefixNode
    """The node of the prefix tree at which the text ends."""
    context: ForwardContext
    """The pass that prefilled it."""


class PackedDecoderBatch:
    """Sequences in flight with their KV cache; those of one length bucket are neighbours, new ones come last."""

    can_merge = True
    is_packed = True

    def __init__(self, model: Any) -> None:
        self.model = model
        self.rows: list[Sequence] = []
        self._num_layers = int(model.config.get_text_config(decoder=True).num_hidden_layers)
        self._last_prompt: list[int] = []  # and its keys and values for each layer
        self._last_kv: list[KV] = []
        self.clear()

    def clear(self) -> None:
        """Drop all rows and their memory."""
        self.rows = []
        self._buckets: list[LengthBucket] = []
        self._prefilled: list[_Prefilled] = []

    @torch.inference_mode()
    def prefill(self, rows: list[Sequence]) -> torch.Tensor:
        """Add rows and run their prompts. Returns their logits (rows, vocab)."""
        texts = [row.token_ids for row in rows]
        nodes, leaves = build_prefix_tree(texts, self._last_prompt, partial(_view, self._last_kv))
        context = ForwardContext([], nodes)
        logits = self._forward(context, *_flatten(nodes), [node.end - 1 for node in leaves])
        prefilled = [_Prefilled(*parts, context) for parts in zip(rows, texts, leaves, strict=True)]
        self._remember(max(prefilled, key=lambda row: row.text))  # the next ones come in this order too
        self._prefilled += prefilled
        self.rows = self.rows + rows
        for row in rows:
            row.num_uncomputed_tokens = 0
        return logits

    @torch.inference_mode()
    def decode(self) -> torch.Tensor:
        """Run each row's uncomputed tokens. Returns the logits (rows, vocab) of the next token."""
        if self._prefilled:
            self._assign_buckets()
        width = max(row.num_uncomputed_tokens or 1 for row in self.rows)
        input_ids = {id(row): row.take_input_ids(width)[0] for row in self.rows}
        single = [b for b in self._buckets if all(len(input_ids[id(row)]) == 1 for row in b.rows)]
        several = [b for b in self._buckets if b not in single]
        order = [id(row) for bucket in (*single, *several) for row in bucket.rows]
        first = sum(len(bucket.rows) for bucket in single)
        continued = [(bucket, i) for bucket in several for i in range(len(bucket.rows))]
        nodes = _continue(
            [
                (partial(bucket.view, index=i), bucket.lengths[i], input_ids[row])
                for (bucket, i), row in zip(continued, order[first:], strict=True)
            ],
            first,
        )
        for bucket in self._buckets:
            bucket.grow([len(input_ids[id(row)]) for row in bucket.rows])
            bucket.prepare(self.model.device, self.model.dtype)
        context = ForwardContext(single, nodes)
        ids, positions = _flatten(nodes)
        ids = [input_ids[row][0] for row in order[:first]] + ids
        positions = [length - 1 for bucket in single for length in bucket.lengths] + positions
        logits = self._forward(context, ids, positions, [*range(first), *(node.end - 1 for node in nodes)])
        for node, (bucket, i) in zip(nodes, continued, strict=True):
            for layer in range(self._num_layers):
                bucket.write(layer, i, context.kv(layer, node))
        return logits if not several else logits[[order.index(id(row)) for row in self.rows]]

    @torch.inference_mode()
    def score_suffixes(self, slots: list[int], suffixes: list[list[int]]) -> torch.Tensor:
        """Logits (suffixes, longest suffix, vocab) after each token of suffixes that continue slots; the batch stays.

        The rows of the slots were prefilled since the last decode.
        """
        by_row = {id(prefilled.row): prefilled for prefilled in self._prefilled}
        prefilled_at = {slot: by_row[id(self.rows[slot])] for slot in set(slots)}
        cached = {
            slot: (partial(_view, [concatenate(pieces) for pieces in self._kv(row)]), len(row.text))
            for slot, row in prefilled_at.items()
        }
        nodes = _continue([(*cached[slot], suffix) for slot, suffix in zip(slots, suffixes, strict=True)], 0)
        longest = max(map(len, suffixes))
        wanted = [min(node.start + i, node.end - 1) for node in nodes for i in range(longest)]
        logits = self._forward(ForwardContext([], nodes), *_flatten(nodes), wanted)
        return logits.view(len(suffixes), longest, -1)

    @torch.inference_mode()
    def retain(self, rows: list[Sequence], slots: list[int]) -> None:  # noqa: ARG002 - a row has one slot
        """Drop all rows but these."""
        if not rows:
            return self.clear()
        if len(rows) < len(self.rows):
            wanted = set(map(id, rows))
            for bucket in self._buckets:
                bucket.retain(wanted)
            self._buckets = [bucket for bucket in self._buckets if bucket.rows]
            self._prefilled = [prefilled for prefilled in self._prefilled if id(prefilled.row) in wanted]
        self._put_in_order()
        return None

    def _put_in_order(self) -> None:
        self.rows = [row for bucket in self._buckets for row in bucket.rows]
        self.rows += [prefilled.row for prefilled in self._prefilled]

    def _assign_buckets(self) -> None:
        """Put the rows that were prefilled into length buckets, of which some may be new."""
        prefilled, self._prefilled = self._prefilled, []
        prefixes: dict[tuple[int, ...], SharedPrefix] = {}
        running = Counter[tuple[int, ...]]()
        for bucket in self._buckets:
            if prefix := bucket.shared_prefix:
                prefixes[prefix.tokens] = prefix
                running[prefix.tokens] += len(bucket.rows)
        shared = choose_shared_prefixes([row.text for row in prefilled], [row.leaf for row in prefilled], running)
        added: dict[int, list[list[list[KV]]]] = {}
        for row, tokens in zip(prefilled, shared, strict=True):
            kv = self._kv(row)
            if tokens is not None and tokens not in prefixes:
                prefixes[tokens] = SharedPrefix(tokens, [_first(pieces, len(tokens)) for pieces in kv])
            bucket = _find_bucket(self._buckets, len(row.text), prefixes[tokens] if tokens else None)
            bucket.add(row.row, len(row.text))
            added.setdefault(id(bucket), []).append(kv)
        for bucket in self._buckets:
            if id(bucket) in added:
                bucket.write_rows(added[id(bucket)])
        self._put_in_order()

    def _kv(self, prefilled: _Prefilled) -> list[list[KV]]:
        """For each layer the keys and values of a whole text, in pieces."""
        path = prefilled.leaf.path()
        pieces = [[prefilled.context.kv(layer, node) for node in path] for layer in range(self._num_layers)]
        if path[0].cached_parent is None:
            return pieces
        return [[path[0].cached_parent(layer, path[0].offset), *of_layer] for layer, of_layer in enumerate(pieces)]

    def _remember(self, prefilled: _Prefilled) -> None:
        """Keep the keys and values of a prompt, for prompts to come that share a prefix with it."""
        self._last_kv = [concatenate(pieces) for pieces in self._kv(prefilled)]
        self._last_prompt = prefilled.text

    def _forward(
        self, context: ForwardContext, ids: list[int], positions: list[int], wanted: list[int]
    ) -> torch.Tensor:
        """Logits (wanted, vocab) after some of the ids of a pass."""
        parts = (torch.tensor(part, device=self.model.device) for part in (ids, positions, wanted))
        return forward(self.model, context, *parts)


def _find_bucket(buckets: list[LengthBucket], length: int, prefix: SharedPrefix | None) -> LengthBucket:
    """The bucket of a new row, which may be a new one."""
    for bucket in buckets:
        if bucket.fits(length, prefix):
            return bucket
    buckets.append(LengthBucket(prefix))
    return buckets[-1]


def _flatten(nodes: Series[PrefixNode]) -> tuple[list[int], list[int]]:
    """The token ids of nodes, and the position of each in its text."""
    ids = [token for node in nodes for token in node.tokens]
    return ids, [node.offset + i for node in nodes for i in range(len(node.tokens))]


def _continue(suffixes: Series[tuple[Callable[..., KV], int, list[int]]], start: int) -> list[PrefixNode]:
    """Nodes of suffixes, each after the cached KV of its row and their number; the first starts at start."""
    nodes = []
    for cached_parent, offset, suffix in suffixes:
        nodes.append(PrefixNode(suffix, offset, cached_parent=cached_parent, start=start))
        start += len(suffix)
    return nodes


def _view(kv: list[KV], layer: int, length: int) -> KV:
    """The first keys and values of a text."""
    keys, values = kv[layer]
    return keys[:, :length], values[:, :length]


def _first(pieces: list[KV], count: int) -> KV:
    """A copy of the first keys and values, which does not hold the others in memory."""
    keys, values = concatenate(pieces)
    return keys[:, :count].clone(), values[:, :count].clone()


def packing_unsupported_reason(model: Any) -> str:
    """Why the tokens of a model cannot be packed; "" if they can: a self-test runs two short texts."""
    return unsupported_reason(model) or _run_self_test(model)


def _run_self_test(model: Any) -> str:
    texts = [[7, 3, 5, 4, 6], [4, 6, 9]]
    nodes, leaves = build_prefix_tree(texts, [], None)
    context = ForwardContext([], nodes)
    batch = PackedDecoderBatch(model)
    with torch.inference_mode():
        try:
            logits = batch._forward(context, *_flatten(nodes), [node.end - 1 for node in leaves])
        except Exception as error:  # noqa: BLE001 - what a model lacks may raise anything
            return f"its attention is not supported ({error})"
        is_same = matches_plain_forward(model, logits, texts)
    return "" if is_same and context.num_calls == batch._num_layers else "its attention is not supported"
