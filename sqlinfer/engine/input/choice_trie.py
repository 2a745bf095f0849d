"""The possible answers of a scored request as a trie of tokens, and what a model must read to choose among them.

Knows no torch and no tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Series
from dataclasses import dataclass, replace

from sqlinfer.engine.generation_settings import GenerationSettings

END = -1  # in place of a token id: whichever token ends an answer
Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fork:
    """Where choices part. feed: the line, among the feeds, after whose token at position the next token decides; None
    for the prompt's own last token. tokens: the next tokens, END among them where a choice is at its end."""

    feed: int | None
    position: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """Choices as a trie: what begins alike is read once, and tokens without an alternative are not read at all.

    names: as the request has them. forks: where they part. turns: for each choice the (fork, place in its tokens) that
    lead to it. feeds: what the model reads after the prompt, a line each; none for choices that differ at once.
    """

    names: tuple[str, ...]
    forks: tuple[Fork, ...]
    turns: tuple[tuple[tuple[int, int], ...], ...]
    feeds: tuple[Path, ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest feed."""
        return max(map(len, self.feeds), default=0)


def build_choices(names: Series[str], tokens: Series[Series[int]], start: Series[int], *, has_end: bool) -> Choices:
    """The trie of choices, given the tokens of each.

    start: tokens that every answer begins with. has_end: whether the model has a token that ends an answer; only that
    tells a choice from one that begins with it. Raises ValueError for choices that cannot be told apart.
    """
    by_tokens: dict[Path, str] = {}
    for name, ids in zip(names, tokens, strict=True):
        if not ids:
            raise ValueError(f"the choice {name!r} has no tokens; leave it out")
        twin = by_tokens.get(tuple(ids))
        if twin is not None:
            raise ValueError(f"the choices {twin!r} and {name!r} have the same tokens; name one of them otherwise")
        by_tokens[tuple(ids)] = name
    followers = _followers(by_tokens)
    forks_at = {path: tokens for path, tokens in followers.items() if len(tokens) > 1}
    for path, following in forks_at.items():
        if END in following and not has_end:
            name = by_tokens[path]
            raise ValueError(f"another choice begins with {name!r}, and the model has no end token; rename one of them")
    feeds, line_of = _feeds([(*start, *path) for path in forks_at])
    forks = [
        Fork(line_of.get((*start, *path)), len(start) + len(path) - 1, tuple(following))
        for path, following in forks_at.items()
    ]
    number = {path: i for i, path in enumerate(forks_at)}
    turns = [
        tuple(
            (number[ids[:place]], forks_at[ids[:place]].index(token))
            for place, token in enumerate((*ids, END))
            if ids[:place] in number
        )
        for ids in by_tokens
    ]
    return Choices(tuple(names), tuple(forks), tuple(turns), feeds)


def scored_settings(settings: GenerationSettings, choices: Choices) -> GenerationSettings:
    """Settings of a request that is scored: one line, room for the longest feed, nothing that changes logits."""
    return replace(settings, max_tokens=max(choices.longest, 1), min_tokens=0, temperature=0.0, num_beams=1, model={})


def _followers(paths: Iterable[Path]) -> dict[Path, list[int]]:
    """For each beginning of a path the tokens that come next, END where the path ends."""
    followers: dict[Path, dict[int, None]] = {}
    for path in paths:
        for place, token in enumerate((*path, END)):
            followers.setdefault(path[:place], {})[token] = None
    return {path: list(following) for path, following in followers.items()}


def _feeds(paths: Series[Path]) -> tuple[tuple[Path, ...], dict[Path, int]]:
    """The paths that no other begins with, and for each path the place of one that begins with it."""
    feeds: list[Path] = []
    line_of: dict[Path, int] = {}
    for path in sorted(filter(None, paths), reverse=True):  # a path comes right after those that begin with it
        if not feeds or feeds[-1][: len(path)] != path:
            feeds.append(path)
        line_of[path] = len(feeds) - 1
    return tuple(feeds), line_of
