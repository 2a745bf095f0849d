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
        described = booster.dump_model(num_iteration=1)
        self._is_classifier = described["objective"].split()[0] in ("binary", "multiclass", "multiclassova")
        named = booster.pandas_categorical or []
        columns = [name for name in self._columns if described["feature_infos"].get(name, {}).get("values")]
        if named and len(columns) != len(named):
            raise TypeError(f"the model has categories of {len(named)} columns, and does not say of which")
        self._categories = dict(zip(columns, named, strict=False))

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
        seen = {name: categories[0] for name, categories in self._categories.items()}
        types = {name: "VARCHAR" if isinstance(seen.get(name), str) else "DOUBLE" for name in self._columns}
        return {"input": types, "sample": {name: seen.get(name, 0.0) for name in self._columns}}

    def _scores(self, batch: Any) -> Any:
        categories = {name: pd.Categorical(batch[name], known) for name, known in self._categories.items()}
        scores = np.asarray(self._booster.predict(batch.assign(**categories)))
        if self._is_classifier and scores.ndim == 1:
            return np.stack([1 - scores, scores], axis=1)
        return scores
