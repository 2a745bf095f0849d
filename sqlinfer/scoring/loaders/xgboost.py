"""Reads an XGBoost model in its own JSON or UBJ format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost


def load(path: Path, file: str) -> XgboostModel:
    """Read a model."""
    booster = xgboost.Booster()
    try:
        booster.load_model(path / file)
    except xgboost.core.XGBoostError as error:
        raise ValueError(str(error).partition("\nStack trace")[0]) from None
    return XgboostModel(booster)


class XgboostModel:
    """A booster: a class or a number a row."""

    def __init__(self, booster: xgboost.Booster) -> None:
        self._booster = booster
        self._columns = booster.feature_names or []
        self._types = booster.feature_types or []
        config = json.loads(booster.save_config())["learner"]
        self._objective = str(config["objective"]["name"])
        self._is_classifier = self._objective.startswith(("binary:", "multi:"))

    def predict(self, batch: Any) -> Any:
        """Classes by their numbers, or numbers."""
        scores = self._scores(batch)
        if not self._is_classifier or self._objective == "multi:softmax":
            return scores
        return scores.argmax(axis=1)

    def probabilities(self, batch: Any) -> Any:
        """The likeliest classes and their probabilities."""
        if not self._is_classifier or self._objective == "multi:softmax":
            raise TypeError(f"a model with the objective {self._objective} gives no probabilities")
        scores = self._scores(batch)
        return pd.DataFrame({"label": scores.argmax(axis=1), "probability": scores.max(axis=1)})

    def signature(self) -> dict[str, Any]:
        """See loaders."""
        returns = "BIGINT" if self._is_classifier else "DOUBLE"
        if not self._columns:
            return {"list": f"DOUBLE[{self._booster.num_features()}]", "returns": returns}
        kinds = dict(zip(self._columns, self._types, strict=False))
        types = {name: {"c": '"NULL"', "i": "BOOLEAN"}.get(kinds.get(name, ""), "DOUBLE") for name in self._columns}
        return {"input": types, "returns": returns}

    def _scores(self, batch: Any) -> Any:
        rows: Any = batch if self._columns else np.asarray(batch, dtype=float)
        if self._columns and "c" in self._types:
            named = zip(self._columns, self._types, strict=True)
            rows = rows.assign(**{name: rows[name].astype("category") for name, kind in named if kind == "c"})
        scores = self._booster.predict(xgboost.DMatrix(rows, enable_categorical="c" in self._types))
        if self._objective == "binary:logistic":
            return np.stack([1 - scores, scores], axis=1)
        if self._objective == "binary:logitraw":
            return np.stack([-scores, scores], axis=1)
        return scores
