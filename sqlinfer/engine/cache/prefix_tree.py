"""A prefix tree over the prompts of a forward pass, so that shared prefixes are prefilled once. Knows no torch.

It is a radix tree as in SGLang's RadixAttention (Zheng et al. 2024, arXiv 2312.07104), built anew for each pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Series
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

MIN_SHARED = 16  # tokens; prefilling fewer again costs less than a node of their own
MIN_SAVED = 512  # tokens of KV cache; reading fewer from memory costs less than a cascade attention


@dataclass(slots=True, eq=False)
class PrefixNode:
    """Consecutive tokens of one prompt, or of all prompts that share them.

    tokens: their ids.
    offset: number of tokens before them in the prompt.
    parent: the node of the tokens before; None at the root.
    cached_parent: holds the KV of the tokens before a root whose offset is not 0.
    start: index of the first token in the forward pass.
    """

    tokens: list[int]
    offset: int
    parent: PrefixNode | None = None
    cached_parent: Any = None
    start: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)

    def path(self) -> list[PrefixNode]:
        """The nodes from the root to this one."""
        nodes = [self]
        while nodes[-1].parent is not None:
            nodes.append(nodes[-1].parent)
        return nodes[::-1]


def build_prefix_tree(
    prompts: Series[list[int]], cached_tokens: list[int], cached_parent: Any
) -> tuple[list[PrefixNode], list[PrefixNode]]:
    """All nodes, in the order of the forward pass, and the leaf of each prompt, which has tokens of its own.

    cached_tokens: prefilled by an earlier pass, their KV held by cached_parent; prompts that share a prefix with them
    continue from there.

    >>> nodes, leaves = build_prefix_tree([[1] * 20 + [2], [1] * 20 + [3, 4], [5]], [], None)
    >>> [(n.start, len(n.tokens), n.offset) for n in nodes], [n.start for n in leaves]
    ([(0, 20, 0), (20, 1, 20), (21, 2, 20), (23, 1, 0)], [20, 21, 23])
    """
    nodes: list[PrefixNode] = []
    leaves: dict[int, PrefixNode] = {}
    order = sorted(range(len(prompts)), key=lambda i: prompts[i])
    for offset, indices in groupby(order, key=lambda i: _shared_length(prompts[i], cached_tokens)):
        for index, node, is_leaf in _build_subtree(prompts, list(indices), offset, None):
            node.cached_parent = cached_parent if node.parent is None and offset else None
            node.start = nodes[-1].end if nodes else 0
            nodes.append(node)
            if is_leaf:
                leaves[index] = node
    return nodes, [leaves[i] for i in range(len(prompts))]


def choose_shared_prefixes(
    prompts: Series[list[int]], leaves: Series[PrefixNode], running: Mapping[tuple[int, ...], int]
) -> list[tuple[int, ...] | None]:
    """The prefix whose KV each prompt should share in the cache: the one that saves most; None where none is worth it.

    running: the number of running rows by the prefix that they share already.
    """
    candidates = [
        {tuple(prompt[: node.offset]) for node in leaf.path()} for prompt, leaf in zip(prompts, leaves, strict=True)
    ]
    for prompt, prefixes in zip(prompts, candidates, strict=True):
        prefixes |= {prefix for prefix in running if len(prefix) < len(prompt) and _has_prefix(prompt, prefix)}
    counts = Counter(running)
    counts.update(prefix for prefixes in candidates for prefix in prefixes)
    best = [max(prefixes, key=lambda prefix: (counts[prefix] - 1) * len(prefix)) for prefixes in candidates]
    return [prefix if (counts[prefix] - 1) * len(prefix) >= MIN_SAVED else None for prefix in best]


def _has_prefix(prompt: list[int], prefix: tuple[int, ...]) -> bool:
    return tuple(prompt[: len(prefix)]) == prefix


def _build_subtree(
    prompts: Series[list[int]], indices: list[int], offset: int, parent: PrefixNode | None
) -> Iterator[tuple[int, PrefixNode, bool]]:
    """Nodes of sorted prompts that share offset tokens, parents first: (index of a prompt, node, whether a leaf)."""
    if len(indices) == 1:
        yield indices[0], PrefixNode(prompts[indices[0]][offset:], offset, parent), True
        return
    shared = _shared_length(prompts[indices[0]], prompts[indices[-1]])  # sorted: the prompts between share it too
    shared = min(shared, min(len(prompts[i]) for i in indices) - 1)
    if shared >= offset + MIN_SHARED:
        parent = PrefixNode(prompts[indices[0]][offset:shared], offset, parent)
        yield indices[0], parent, False
        offset = shared
    group = indices[:1]
    for previous, index in pairwise(indices):
        if _shared_length(prompts[previous], prompts[index]) < offset + MIN_SHARED:
            yield from _build_subtree(prompts, group, offset, parent)
            group = []
        group.append(index)
    yield from _build_subtree(prompts, group, offset, parent)


def _shared_length(prompt: list[int], other: list[int]) -> int:
    """Length of the shared prefix, 0 below MIN_SHARED; the last token of the first prompt does not count."""
    end = min(len(prompt) - 1, len(other))
    shared = next((i for i in range(end) if prompt[i] != other[i]), end)
    return shared if shared >= MIN_SHARED else 0
