from typing import TypedDict


class Rouge(TypedDict):
    rouge1: float
    rouge2: float
    rougeL: float
    rougeLsum: float


def rouge(prediction: str, reference: str) -> Rouge:
    """Compare a summary with a reference: F-measures from 0 to 1; lines are the sentences of rougeLsum."""
    from rouge_score.rouge_scorer import RougeScorer

    scores = RougeScorer(list(Rouge.__annotations__)).score(reference, prediction)
    return Rouge(**{name: score.fmeasure for name, score in scores.items()})
