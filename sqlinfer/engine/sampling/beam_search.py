"""Beam search of one sequence, with the scores and the stopping rules of transformers' beam search."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sqlinfer.engine.generation_settings import GenerationSettings

NEVER = -1.0e9


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished answer."""

    score: float
    """Its log-probability, normalised by length."""
    tokens: list[int]
    """Without the prompt."""


class Beams:
    """The running beams of a sequence and the best finished hypotheses; a beam takes a slot of the batch."""

    def __init__(self, settings: GenerationSettings) -> None:
        self.settings = settings
        self.tokens: list[list[int]] = [[] for _ in range(settings.num_beams)]
        self.scores: list[float] = [0.0] + [NEVER] * (settings.num_beams - 1)  # all beams start equal
        self.finished: list[Hypothesis] = []
        self.is_done = False
        self._length_penalty = float(settings.model.get("length_penalty", 1.0))
        self._early_stopping = settings.model.get("early_stopping", False)

    @property
    def best(self) -> list[int]:
        """The tokens of the best finished answer."""
        return self.finished[0].tokens

    def advance(self, log_probs: torch.Tensor) -> list[int]:
        """Extend the beams by a token, given log_probs (beams, vocab). Returns the beam that each one continues."""
        num_beams, vocabulary = log_probs.shape
        scores = log_probs + torch.tensor(self.scores, device=log_probs.device)[:, None]
        num_candidates = max(2, 1 + len(self.settings.eos)) * num_beams
        top, index = torch.topk(scores.view(-1), min(num_candidates, scores.numel()))
        candidates = [
            (score, i // vocabulary, [*self.tokens[i // vocabulary], i % vocabulary])
            for score, i in zip(top.tolist(), index.tolist(), strict=True)
        ]
        ends = [self._ends(tokens) for _, _, tokens in candidates]
        self._finish([c for c, end in zip(candidates[:num_beams], ends, strict=False) if end])
        kept = sorted(
            ((score + NEVER * end, parent, ids) for (score, parent, ids), end in zip(candidates, ends, strict=True)),
            key=lambda candidate: -candidate[0],
        )[:num_beams]
        self.scores = [score for score, _, _ in kept]
        self.tokens = [tokens for _, _, tokens in kept]
        self.is_done = all(ends) or not self._can_improve()
        return [parent for _, parent, _ in kept]

    def _ends(self, tokens: list[int]) -> bool:
        return tokens[-1] in self.settings.eos or len(tokens) >= self.settings.max_tokens

    def _finish(self, ended: list[tuple[float, int, list[int]]]) -> None:
        """Add ended beams to the hypotheses and keep the best of all."""
        new = [Hypothesis(score / len(tokens) ** self._length_penalty, tokens) for score, _, tokens in ended]
        self.finished = sorted([*self.finished, *new], key=lambda h: -h.score)[: self.settings.num_beams]

    def _can_improve(self) -> bool:
        """Whether a running beam could still beat the worst hypothesis kept."""
        if len(self.finished) < self.settings.num_beams:
            return True
        if self._early_stopping is True:
            return False
        length = len(self.tokens[0])
        if self._early_stopping == "never" and self._length_penalty > 0:
            length = self.settings.max_tokens
        best = self.scores[0] / float(length**self._length_penalty)
        return best > self.finished[-1].score
