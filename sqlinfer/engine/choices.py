"""The possible answers of a scored request as token ids, and the lines that a model must read to score them.

Knows no torch and no tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass
from itertools import pairwise

from sqlinfer.engine.settings import Settings

END = -1  # in place of a token id: whichever token ends an answer


@dataclass(frozen=True, slots=True)
class Choices:
    """Choices as a trie of tokens: what begins alike is read once.

    names: as the request has them. targets: the tokens of each, scored one after the other. feeds: what the model
    reads after the prompt, a line each. members: for each feed the choices, by place, whose tokens but the last it
    begins with. A choice of one token is in none: the prompt's own logits score it.
    """

    names: tuple[str, ...]
    targets: tuple[tuple[int, ...], ...]
    feeds: tuple[tuple[int, ...], ...]
    members: tuple[tuple[int, ...], ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest choice."""
        return max(map(len, self.targets))


def build_choices(names: Series[str], tokens: Series[Series[int]], start: Series[int], *, has_end: bool) -> Choices:
    """The trie of choices, given the tokens of each.

    start: what every answer begins with; the same for all, so it changes no probability. has_end: whether the model
    has a token that ends an answer. If one choice begins like another whole one, only the end tells them apart: all
    of them are scored with it then. Else none is: "the answer begins with this choice" excludes the others, and a
    model that goes on after a label (a full stop, an explanation) has chosen it all the same.
    Raises ValueError for choices that cannot be told apart.
    """
    by_tokens: dict[tuple[int, ...], str] = {}
    for name, ids in zip(names, tokens, strict=True):
        if not ids:
            raise ValueError(f"the choice {name!r} has no tokens; leave it out")
        if tuple(ids) in by_tokens:
            twins = f"{by_tokens[tuple(ids)]!r} and {name!r}"
            raise ValueError(f"the choices {twins} have the same tokens; name one of them otherwise")
        by_tokens[tuple(ids)] = name
    prefixed = _first_prefix(sorted(by_tokens))
    if prefixed and not has_end:
        short, long = (by_tokens[ids] for ids in prefixed)
        raise ValueError(f"the choice {long!r} begins with {short!r}, and the model has no end token; rename one")
    end = [END] if prefixed else []
    targets = tuple((*start, *ids, *end) for ids in tokens)
    return Choices(tuple(names), targets, *_feeds(targets))


def scored_settings(settings: Settings, choices: Choices) -> Settings:
    """Settings of a request that is scored: one line, room for the longest choice, nothing that changes logits."""
    return Settings(
        max_tokens=choices.longest,
        min_tokens=0,
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        num_beams=1,
        seed=0,
        stop=(),
        eos=settings.eos,
        model={},
    )


def _first_prefix(paths: list[tuple[int, ...]]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """A path and one that begins with it, if there are such; paths are sorted, so that the two are neighbours."""
    return next(((a, b) for a, b in pairwise(paths) if b[: len(a)] == a), None)


def _feeds(targets: Series[tuple[int, ...]]) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """The longest beginnings of targets, each without what it ends with; and the targets that each one covers."""
    feeds: list[tuple[int, ...]] = []
    members: list[tuple[int, ...]] = []
    for place in sorted(range(len(targets)), key=lambda place: targets[place][:-1], reverse=True):
        feed = targets[place][:-1]
        if feeds and feeds[-1][: len(feed)] == feed and feed:
            members[-1] += (place,)
        elif feed:
            feeds.append(feed)
            members.append((place,))
    return tuple(feeds), tuple(members)
