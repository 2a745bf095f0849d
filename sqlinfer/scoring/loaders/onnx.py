"""Reads an ONNX model, with onnxruntime on the CPU."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

_TYPES = {
    "float": ("FLOAT", np.float32), "double": ("DOUBLE", np.float64), "float16": ("FLOAT", np.float16),
    "int64": ("BIGINT", np.int64), "int32": ("INTEGER", np.int32), "int16": ("SMALLINT", np.int16),
    "int8": ("TINYINT", np.int8), "uint8": ("UTINYINT", np.uint8), "bool": ("BOOLEAN", np.bool_),
    "string": ("VARCHAR", np.object_),
}  # fmt: skip


def load(path: Path, file: str) -> OnnxModel:
    """Read a model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    num_threads = os.environ.get("OMP_NUM_THREADS", "")  # which onnxruntime does not read
    options.intra_op_num_threads = int(num_threads) if num_threads.isdecimal() else 0  # all cores
    return OnnxModel(onnxruntime.InferenceSession(path / file, options, providers=["CPUExecutionProvider"]))


class OnnxModel:
    """A graph: its first output a row, the classes' numbers of what else has a score for each."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._inputs = session.get_inputs()
        self._outputs = session.get_outputs()

    def predict(self, batch: Any) -> Any:
        """The first output."""
        first = self._run(batch, [self._outputs[0].name])[0]
        return first[:, 0] if isinstance(first, np.ndarray) and first.ndim == 2 and first.shape[1] == 1 else first

    def probabilities(self, batch: Any) -> Any:
        """The likeliest labels and their probabilities: of a map of labels, or of the scores of classes."""
        outputs = self._run(batch, None)
        scores = outputs[-1]
        if isinstance(scores, list):
            best = [max(each.items(), key=lambda pair: pair[1]) for each in scores]
            return pd.DataFrame(best, columns=["label", "probability"])
        if scores.ndim != 2 or scores.shape[1] < 2:
            raise TypeError("the last output of the model is no score for each of several classes")
        labels = outputs[0] if len(outputs) > 1 and outputs[0].ndim == 1 else scores.argmax(axis=1)
        return pd.DataFrame({"label": labels, "probability": scores.max(axis=1)})

    def signature(self) -> dict[str, Any]:
        """See loaders."""
        first = self._outputs[0]
        width = _width(first.shape)
        returns = _sql(first.type) + (f"[{width}]" if width > 1 else "")
        if len(self._inputs) == 1 and _width(self._inputs[0].shape) != 1:
            width = _width(self._inputs[0].shape)
            return {"list": f"{_sql(self._inputs[0].type)}[{width or ''}]", "returns": returns}
        types = {each.name: _sql(each.type) for each in self._inputs}
        return {"input": types, "not_null": [n for n, t in types.items() if t not in ("FLOAT", "DOUBLE")],
                "returns": returns}  # fmt: skip

    def _run(self, batch: Any, outputs: list[str] | None) -> list[Any]:
        if len(self._inputs) == 1 and not (hasattr(batch, "columns") and list(batch) == [self._inputs[0].name]):
            feeds = {self._inputs[0].name: self._tensor(self._inputs[0], np.asarray(batch))}
        else:
            feeds = {each.name: self._tensor(each, batch[each.name].to_numpy()) for each in self._inputs}
        size = self._inputs[0].shape[0]
        rows = len(next(iter(feeds.values())))
        if not isinstance(size, int) or size == rows:
            return list(self._session.run(outputs, feeds))
        parts = [self._run_part(outputs, feeds, start, size) for start in range(0, rows, size)]
        return [_joined([part[place] for part in parts])[:rows] for place in range(len(parts[0]))]

    def _run_part(self, outputs: list[str] | None, feeds: dict[str, Any], start: int, size: int) -> list[Any]:
        """The outputs of a graph that was exported for a number of rows; the last row stands for those that lack."""
        last = len(next(iter(feeds.values()))) - 1
        places = np.minimum(np.arange(start, start + size), last)
        return list(self._session.run(outputs, {name: values[places] for name, values in feeds.items()}))

    @staticmethod
    def _tensor(node: Any, values: Any) -> Any:
        """Values as the tensor of an input: of its type and shape, whose first axis is the batch."""
        shape = [len(values), *(size if isinstance(size, int) else -1 for size in node.shape[1:])]
        return values.astype(_TYPES[_element(node.type)][1]).reshape(shape)


def _joined(parts: list[Any]) -> Any:
    return list(chain(*parts)) if isinstance(parts[0], list) else np.concatenate(parts)


def _element(tensor_type: str) -> str:
    element = tensor_type.removeprefix("tensor(").removesuffix(")")
    if element not in _TYPES:
        raise TypeError(f"the model has a value of the type {tensor_type}, of which SQL has none")
    return element


def _sql(tensor_type: str) -> str:
    return _TYPES[_element(tensor_type)][0]


def _width(shape: Any) -> int:
    """Numbers of a row: 0 if it is open."""
    width = 1
    for size in shape[1:]:
        width *= size if isinstance(size, int) else 0
    return width
