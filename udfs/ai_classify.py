from typing import Any, Literal

from sqlinfer import Choose, SqlinferError, Steps, calibrated, yes_or_no


def ai_classify(
    text: str,
    labels: list[str] | dict[str, str],
    instructions: str = "",
    multilabel: bool = False,
    return_confidence: bool = False,
    calibrate: bool = False,
    threshold: float = 0.5,
    overflow: Literal["truncate", "error"] = "error",
) -> Steps[Any]:
    """Choose the label that fits a text best, or with multilabel all labels that fit.

    labels: a list, or a MAP or STRUCT of label and description. Single labels share one probability; with multilabel
    each label is a yes or no of its own, and those at or above the threshold are chosen. calibrate: divide by the
    probabilities for a text without content, so that the model's bias for a label does not decide (contextual
    calibration: Zhao et al. 2021, arXiv 2102.09690). The value is a label; with multilabel a list of labels; with
    return_confidence a STRUCT of label and confidence in place of a label.
    """
    _check_threshold(threshold)
    described = _described(labels)
    choices = tuple(choice for label in described for choice in yes_or_no(label)) if multilabel else tuple(described)
    instruction = _instruction(described, instructions, multilabel)
    weights = yield from calibrated(Choose(text, choices, instruction, overflow=overflow), calibrate)
    if multilabel:
        shares = {label: _share(*(weights[choice] for choice in yes_or_no(label))) for label in described}
        chosen = [{"label": label, "confidence": share} for label, share in shares.items() if share >= threshold]
        return chosen if return_confidence else [each["label"] for each in chosen]
    label = max(choices, key=weights.__getitem__)
    if return_confidence:
        return {"label": label, "confidence": _share(weights[label], sum(weights.values()) - weights[label])}
    return label


def check(labels: list[str] | dict[str, str], threshold: float = 0.5) -> None:
    _described(labels)
    _check_threshold(threshold)


def returns(multilabel: bool = False, return_confidence: bool = False) -> str:
    one = "STRUCT(label VARCHAR, confidence DOUBLE)" if return_confidence else "VARCHAR"
    return f"{one}[]" if multilabel else one


def _instruction(described: dict[str, str], instructions: str, multilabel: bool) -> str:
    named = ", ".join(f"{label} ({description})" if description else label for label, description in described.items())
    if multilabel:
        request = (
            f"Say of each of these labels whether it fits the following text: {named}. Answer label: yes or label: no."
        )
    else:
        request = f"Classify the following text as one of these labels: {named}. Answer with the label alone."
    return f"{instructions}\n{request}" if instructions else request


def _described(labels: Any) -> dict[str, str]:
    """Descriptions by label, "" where there is none."""
    if isinstance(labels, dict):
        pairs = list(labels.items())
    elif isinstance(labels, list) and all(isinstance(each, tuple) for each in labels):  # a MAP
        pairs = labels
    elif isinstance(labels, list):
        pairs = [(label, "") for label in labels]
    else:
        raise SqlinferError(f"labels must be a list, as in ['good', 'bad'], not {labels!r}")
    if not pairs:
        raise SqlinferError("labels is an empty list; name at least one label")
    described: dict[str, str] = {}
    seen: set[str] = set()
    for label, description in pairs:
        if not isinstance(label, str) or not label.strip():
            raise SqlinferError(f"each label must be a text that is not blank, not {label!r}")
        if not isinstance(description, str | None):
            raise SqlinferError(f"the description of the label {label!r} must be a text, not {description!r}")
        if label.strip() in seen:
            raise SqlinferError(f"the label {label!r} is given twice; name each label once")
        seen.add(label.strip())
        described[label] = description or ""
    return described


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise SqlinferError(f"threshold must be a number from 0 to 1, not {threshold}")


def _share(weight: float, rest: float) -> float:
    return weight / (weight + rest) if weight + rest else 0.0
