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
        self._has_labels = self._objective in ("binary:hinge", "multi:softmax")
        self._has_scores = not self._has_labels and self._objective.startswith(("binary:", "multi:"))
        # As XGBClassifier and XGBRegressor predict after an early stop; a Booster predicts with all of its trees.
        best = booster.attr("best_iteration") if booster.attr("scikit_learn") else None
        self._trees = (0, int(best) + 1) if best else (0, 0)

    def predict(self, batch: Any) -> Any:
        """Classes by their numbers, or numbers."""
        scores = self._scores(batch)
        if self._has_scores:
            return scores.argmax(axis=1)
        return scores.astype(int) if self._has_labels else scores

    def probabilities(self, batch: Any) -> Any:
        """The likeliest classes and their probabilities."""
        if not self._has_scores or self._objective == "binary:logitraw":
            raise TypeError(f"a model with the objective {self._objective} gives no probabilities")
        scores = self._scores(batch)
        return pd.DataFrame({"label": scores.argmax(axis=1), "probability": scores.max(axis=1)})

    def signature(self) -> dict[str, Any]:
        """See loaders."""
        if not self._columns:
            size = self._booster.num_features()
            return {"list": f"DOUBLE[{size}]", "sample": [0.0] * size}
        kinds = dict(zip(self._columns, self._types, strict=False))
        types = {name: {"c": '"NULL"', "i": "BOOLEAN"}.get(kinds.get(name, ""), "DOUBLE") for name in self._columns}
        sample = {name: None if kind == '"NULL"' else 0.0 for name, kind in types.items()}
        return {"input": types, "sample": sample}

    def _scores(self, batch: Any) -> Any:
        rows: Any = batch if self._columns else np.asarray(batch, dtype=float)
        if self._columns and "c" in self._types:
            named = zip(self._columns, self._types, strict=True)
            rows = rows.assign(**{name: rows[name].astype("category") for name, kind in named if kind == "c"})
        matrix = xgboost.DMatrix(rows, enable_categorical="c" in self._types)
        scores = self._booster.predict(matrix, iteration_range=self._trees)
        if self._objective == "binary:logistic":
            return np.stack([1 - scores, scores], axis=1)
        if self._objective == "binary:logitraw":
            return np.stack([-scores, scores], axis=1)
        return scores
