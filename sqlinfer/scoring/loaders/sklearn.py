"""Reads a fitted scikit-learn model: an estimator, a pipeline or a transformation, by skops, joblib or pickle."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_MOST_COLUMNS = 500


def load(path: Path, file: str) -> SklearnModel:
    """Read a model; one that another version of scikit-learn wrote is refused, as it may predict something else."""
    from sklearn.exceptions import InconsistentVersionWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            return SklearnModel(_read(path / file))
        except InconsistentVersionWarning as error:
            raise RuntimeError(
                f"the model was saved with scikit-learn {error.original_sklearn_version}, and "
                f"{error.current_sklearn_version} is installed here: "
                f'pip install "scikit-learn=={error.original_sklearn_version}", or save the model anew'
            ) from None


def _read(file: Path) -> Any:
    if file.suffix == ".skops":
        from skops.io import get_untrusted_types, load

        if unknown := get_untrusted_types(file=file):
            raise RuntimeError(
                f"{file.name} holds types that skops does not trust: {', '.join(unknown)}. A pickle of the model can "
                "be registered with --trust"
            )
        return load(file)
    import joblib

    return joblib.load(file)


class SklearnModel:
    """A fitted estimator, which predicts, or a transformation, which transforms."""

    def __init__(self, estimator: Any) -> None:
        if not hasattr(estimator, "predict") and not hasattr(estimator, "transform"):
            raise TypeError(f"a {type(estimator).__name__} is no model: it has neither predict nor transform")
        self._estimator = estimator
        self._columns = [str(name) for name in getattr(estimator, "feature_names_in_", [])]

    def predict(self, batch: Any) -> Any:
        """Labels, numbers, or transformed columns."""
        rows = self._rows(batch)
        if hasattr(self._estimator, "predict"):
            values = np.asarray(self._estimator.predict(rows))
            return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        columns = self._estimator.transform(rows)
        columns = columns.toarray() if hasattr(columns, "toarray") else np.asarray(columns)
        return pd.DataFrame(columns, columns=self._names_out(columns.shape[1])).infer_objects()

    def probabilities(self, batch: Any) -> Any:
        """The likeliest labels and their probabilities; of a transformation its columns."""
        if not hasattr(self._estimator, "predict"):
            return self.predict(batch)
        if not hasattr(self._estimator, "predict_proba"):
            raise TypeError(f"{type(self._estimator).__name__} gives no probabilities")
        scores = np.asarray(self._estimator.predict_proba(self._rows(batch)))
        labels = np.asarray(self._estimator.classes_)[scores.argmax(axis=1)]
        return pd.DataFrame({"label": labels, "probability": scores.max(axis=1)})

    def signature(self) -> dict[str, Any]:
        """See loaders."""
        if not self._columns:
            size = getattr(self._estimator, "n_features_in_", None)
            known = {"list": f"DOUBLE[{size}]", "sample": [0.0] * size} if size else {}
        else:
            known = _columns_by_trial(self.predict, self._columns, dict(_categories(self._estimator)))
        return known if "sample" in known else {**known, "returns": self._returns()}

    def _rows(self, batch: Any) -> Any:
        return batch if self._columns else np.asarray(batch)

    def _returns(self) -> str:
        if not hasattr(self._estimator, "predict"):
            names = self._names_out(len(self._estimator.get_feature_names_out()))
            return "STRUCT({})".format(", ".join('"{}" DOUBLE'.format(name.replace('"', '""')) for name in names))
        classes = getattr(self._estimator, "classes_", None)
        if isinstance(classes, np.ndarray):
            return _sql_type(classes[0])
        if hasattr(self._estimator, "labels_") or hasattr(self._estimator, "cluster_centers_"):
            return "BIGINT"
        return "DOUBLE"

    def _names_out(self, size: int) -> list[str]:
        names = getattr(self._estimator, "get_feature_names_out", lambda: [f"x{i}" for i in range(size)])()
        return [re.sub(r"^(?!remainder__)\w+?__", "", str(name)) for name in names] if _unique(names) else list(names)


def _unique(names: Any) -> bool:
    short = [str(name).partition("__")[2] or str(name) for name in names]
    return len(set(short)) == len(short)


def _categories(estimator: Any) -> Iterator[tuple[str, Any]]:
    """A value that the encoders inside of a model have seen, by column."""
    for step in [estimator, *(step for _, step in getattr(estimator, "steps", []))]:
        if hasattr(step, "categories_") and hasattr(step, "feature_names_in_"):
            for name, seen in zip(step.feature_names_in_, step.categories_, strict=False):
                values = [value for value in seen if value is not None and value == value]  # noqa: PLR0124 - no NaN
                if values:
                    yield str(name), values[0].item() if hasattr(values[0], "item") else values[0]
        if step is not estimator:
            yield from _categories(step)
        for _, part, _ in getattr(step, "transformers_", []):
            yield from _categories(part)


def _columns_by_trial(predict: Callable[[Any], Any], columns: list[str], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a signature that is about columns; "NULL" is the type of those that take any. hints: values that the
    model has seen in some columns; numbers are tried in the others, then texts."""
    row = {name: hints.get(name, 0.0) for name in columns}
    if not _works(predict, row):
        row = {name: hints.get(name, "a") for name in columns}
    if len(columns) > _MOST_COLUMNS or not _works(predict, row):
        return {"input": {name: _sql_type(hints[name]) if name in hints else '"NULL"' for name in columns}}
    types, not_null = {}, []
    for name in columns:
        takes_text = name not in hints and isinstance(row[name], float) and _works(predict, {**row, name: "a"})
        types[name] = '"NULL"' if takes_text else _sql_type(row[name])
        empty = None if isinstance(row[name], str) else np.nan
        if not _works(predict, {**row, name: empty}):
            not_null.append(name)
    return {"input": types, "not_null": not_null, "sample": row}


def _sql_type(value: Any) -> str:
    """The SQL type of a Python or numpy value, or of a numpy type."""
    kind = np.dtype(value).kind if isinstance(value, np.dtype | type) else np.asarray(value).dtype.kind
    return {"i": "BIGINT", "u": "BIGINT", "f": "DOUBLE", "b": "BOOLEAN"}.get(kind, "VARCHAR")


def _works(predict: Callable[[Any], Any], row: Mapping[str, Any]) -> bool:
    try:
        return len(predict(pd.DataFrame([row]))) == 1
    except Exception:  # noqa: BLE001 - a library may raise anything
        return False
