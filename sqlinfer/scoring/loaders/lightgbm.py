"""Reads a LightGBM model in its own text format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd


def load(path: Path, file: str) -> LightgbmModel:
    """Read a model."""
    return LightgbmModel(lightgbm.Booster(model_file=path / file))


class LightgbmModel:
    """A booster: a class or a number a row."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        self._booster = booster
        self._columns = booster.feature_name()
        self._is_classifier = booster.dump_model(num_iteration=1)["objective"].split()[0] in ("binary", "multiclass")
        self._categories = booster.pandas_categorical or []

    def predict(self, batch: Any) -> Any:
        """Classes by their numbers, or numbers."""
        scores = self._scores(batch)
        return scores.argmax(axis=1) if self._is_classifier else scores

    def probabilities(self, batch: Any) -> Any:
        """The likeliest classes and their probabilities."""
        if not self._is_classifier:
            raise TypeError("a LightGBM model for numbers gives no probabilities")
        scores = self._scores(batch)
        return pd.DataFrame({"label": scores.argmax(axis=1), "probability": scores.max(axis=1)})

    def signature(self) -> dict[str, Any]:
        """See loaders."""
        types = dict.fromkeys(self._columns, "DOUBLE")
        return {"input": types, "returns": "BIGINT" if self._is_classifier else "DOUBLE"}

    def _scores(self, batch: Any) -> Any:
        scores = np.asarray(self._booster.predict(batch))
        if self._is_classifier and scores.ndim == 1:
            return np.stack([1 - scores, scores], axis=1)
        return scores
