"""Contextual calibration of choices: takes a model's liking for a label away. Knows no model."""

from __future__ import annotations

from sqlinfer.types import Choose, Probabilities, Steps

NEUTRAL = "N/A"
"""A text without content."""


def calibrated(request: Choose, is_wanted: bool = True) -> Steps[Probabilities]:
    """Ask for the probabilities of choices, each divided by its probability for a text without content, and all scaled
    to add up to 1 (Zhao et al. 2021, arXiv 2102.09690). is_wanted: if not, as they are."""
    if not is_wanted:
        plain: Probabilities = yield request
        return plain
    neutral = Choose(NEUTRAL, request.choices, request.instruction, query=request.query)
    probabilities, bias = yield [request, neutral]
    weights = {choice: probabilities[choice] / (bias[choice] or 1.0) for choice in request.choices}
    total = sum(weights.values()) or 1.0
    return Probabilities({choice: weight / total for choice, weight in weights.items()})
