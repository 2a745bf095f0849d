"""The labels of a choice as a trie of tokens, and the token sequences whose logits decide among them.

Knows no torch and no tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Series
from dataclasses import dataclass, replace

from sqlinfer.engine.generation_settings import GenerationSettings

END = -1  # stands for every token that ends an answer
TokenIds = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fork:
    """A node of the trie with more than one child.

    suffix: index of the suffix whose logits decide; None where those after the prompt do.
    position: of the deciding token in that suffix.
    tokens: the children, END among them where a label ends here.
    """

    suffix: int | None
    position: int
    tokens: TokenIds


@dataclass(frozen=True, slots=True)
class ChoiceTrie:
    """Labels as a trie: shared prefixes are computed once, and tokens without an alternative not at all.

    labels: as the request has them.
    forks: the nodes where labels part.
    paths: for each label the (fork, index of its child) that lead to it.
    suffixes: token ids that the model runs after the prompt; none for labels that differ in their first token.
    """

    labels: tuple[str, ...]
    forks: tuple[Fork, ...]
    paths: tuple[tuple[tuple[int, int], ...], ...]
    suffixes: tuple[TokenIds, ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest suffix."""
        return max(map(len, self.suffixes), default=0)


def build_choice_trie(
    labels: Series[str], tokens: Series[Series[int]], start: Series[int], *, has_end: bool
) -> ChoiceTrie:
    """The trie of labels, given the tokens of each.

    start: tokens that every answer begins with. has_end: whether the model has a token that ends an answer, without
    which a label cannot be told from one that continues it. Raises ValueError for labels that cannot be told apart.
    """
    by_tokens: dict[TokenIds, str] = {}
    for label, ids in zip(labels, tokens, strict=True):
        if not ids:
            raise ValueError(f"the choice {label!r} has no tokens; leave it out")
        twin = by_tokens.get(tuple(ids))
        if twin is not None:
            raise ValueError(f"the choices {twin!r} and {label!r} have the same tokens; rename one of them")
        by_tokens[tuple(ids)] = label
    children_at = {prefix: tokens for prefix, tokens in _children(by_tokens).items() if len(tokens) > 1}
    for prefix, children in children_at.items():
        if END in children and not has_end:
            label = by_tokens[prefix]
            raise ValueError(
                f"another choice begins with {label!r}, and the model has no end token; rename one of them"
            )
    suffixes, suffix_of = _suffixes([(*start, *prefix) for prefix in children_at])
    forks = [
        Fork(suffix_of.get((*start, *prefix)), len(start) + len(prefix) - 1, tuple(children))
        for prefix, children in children_at.items()
    ]
    fork_at = {prefix: i for i, prefix in enumerate(children_at)}
    paths = [
        tuple(
            (fork_at[ids[:i]], children_at[ids[:i]].index(token))
            for i, token in enumerate((*ids, END))
            if ids[:i] in fork_at
        )
        for ids in by_tokens
    ]
    return ChoiceTrie(tuple(labels), tuple(forks), tuple(paths), suffixes)


def scored_settings(settings: GenerationSettings, trie: ChoiceTrie) -> GenerationSettings:
    """Settings of a scored request: one slot, tokens enough for the longest suffix, nothing that changes logits."""
    return replace(settings, max_tokens=max(trie.longest, 1), min_tokens=0, temperature=0.0, num_beams=1, model={})


def _children(labels: Iterable[TokenIds]) -> dict[TokenIds, list[int]]:
    """For each prefix of a label the tokens that come next, END where the label ends."""
    children: dict[TokenIds, dict[int, None]] = {}
    for ids in labels:
        for i, token in enumerate((*ids, END)):
            children.setdefault(ids[:i], {})[token] = None
    return {prefix: list(tokens) for prefix, tokens in children.items()}


def _suffixes(prefixes: Series[TokenIds]) -> tuple[tuple[TokenIds, ...], dict[TokenIds, int]]:
    """The prefixes that no other continues, and for each prefix the index of one that continues it."""
    suffixes: list[TokenIds] = []
    suffix_of: dict[TokenIds, int] = {}
    for prefix in sorted(filter(None, prefixes), reverse=True):  # right after those that continue it
        if not suffixes or suffixes[-1][: len(prefix)] != prefix:
            suffixes.append(prefix)
        suffix_of[prefix] = len(suffixes) - 1
    return tuple(suffixes), suffix_of
