from typing import Literal

from sqlinfer import AnyValue, Json, ModelVersion, Predict, Probabilities

SCORED = "input"


def ai_predict(model: str, input: AnyValue, overflow: Literal["truncate", "error"] = "truncate") -> Predict:
    """Predict with a model of yours, by its name: the label of a text or an image, or what it makes of any value."""
    return Predict(input.text, input.sql_type, overflow)


def read(output: Probabilities | Json) -> str:
    return output.best if isinstance(output, Probabilities) else output


def returns(model: ModelVersion) -> str:
    return "VARCHAR" if model.scorer is None else model.scorer.returns
