"""Reads an MLflow model by its python_function flavor; its signature is what it knows of columns and types."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_TYPES = {
    **{"boolean": "BOOLEAN", "integer": "INTEGER", "long": "BIGINT", "float": "FLOAT", "double": "DOUBLE"},
    **{"string": "VARCHAR", "binary": "BLOB", "datetime": "TIMESTAMP", "any": '"NULL"', "sparkml_vector": "DOUBLE[]"},
}
_DTYPES = {
    **{"bool": "BOOLEAN", "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT"},
    **{"uint8": "UTINYINT", "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT"},
    **{"float16": "FLOAT", "float32": "FLOAT", "float64": "DOUBLE"},
}


def load(path: Path, file: str) -> Any:  # noqa: ARG001 - of the folder there is one MLmodel
    """Load a model's folder."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import pyfunc
    except ImportError:
        raise ImportError('MLflow is not installed: pip install "sqlinfer[mlflow]"') from None
    return _Pyfunc(pyfunc.load_model(str(path)))


class _Pyfunc:
    def __init__(self, model: Any) -> None:
        self._model = model
        signature = model.metadata.signature
        self._inputs = signature.inputs.to_dict() if signature and signature.inputs else []
        self._outputs = signature.outputs.to_dict() if signature and signature.outputs else []

    def predict(self, batch: Any) -> Any:
        """Predict rows: a DataFrame, or a list for a model whose input has no name."""
        result = self._model.predict(self._input(batch))
        if isinstance(result, dict):  # of named tensors
            result = {name: list(values) for name, values in result.items()}
            return pd.DataFrame(result) if len(result) > 1 else next(iter(result.values()))
        is_single = len(self._outputs) < 2 and getattr(result, "ndim", 0) == 2 and not hasattr(result, "columns")
        return result[:, 0] if is_single and result.shape[1] == 1 else result

    def signature(self) -> dict[str, Any]:
        """The SQL types of its logged signature."""
        signature: dict[str, Any] = {}
        if self._inputs:
            names = [spec.get("name") for spec in self._inputs]
            types = [_sql_type(spec) for spec in self._inputs]
            if not all(names):
                return {"list": types[0], **self._result()}
            signature["input"] = dict(zip(names, types, strict=True))
            signature["not_null"] = [spec["name"] for spec in self._inputs if _refuses_null(spec)]
            signature["optional"] = [spec["name"] for spec in self._inputs if spec.get("required") is False]
        return signature | self._result()

    def _result(self) -> dict[str, str]:
        types = [_sql_type(spec) for spec in self._outputs]
        if not types:
            return {}
        return {"returns": types[0] if len(types) == 1 else _struct(self._outputs, types)}

    def _input(self, batch: Any) -> Any:
        tensors = {spec.get("name"): spec["tensor-spec"]["dtype"] for spec in self._inputs if "tensor-spec" in spec}
        if not hasattr(batch, "columns"):
            return np.array(batch, dtype=tensors.get(None)) if tensors else pd.DataFrame({0: batch})
        if tensors:
            return {name: np.array(list(batch[name]), dtype=dtype) for name, dtype in tensors.items()}
        optional = [spec["name"] for spec in self._inputs if spec.get("required") is False]
        absent = [name for name in optional if name in batch.columns and batch[name].isna().all()]
        return batch.drop(columns=absent)


def _refuses_null(spec: dict[str, Any]) -> bool:
    """Whether MLflow refuses a column with NULLs, which are NaN in a frame."""
    return spec["type"] in ("boolean", "integer", "long") and spec.get("required") is not False


def _sql_type(spec: dict[str, Any]) -> str:
    """The SQL type of a column, a property or a tensor."""
    kind = spec["type"]
    if kind == "tensor":
        shape = list(spec["tensor-spec"]["shape"])[1:]
        dimensions = [] if shape == [1] else shape
        return _DTYPES.get(spec["tensor-spec"]["dtype"], "VARCHAR") + "[]" * len(dimensions)
    if kind == "array":
        return f"{_sql_type(spec['items'])}[]"
    if kind == "map":
        return f"MAP(VARCHAR, {_sql_type(spec['values'])})"
    if kind == "object":
        properties = [{"name": name, **prop} for name, prop in spec["properties"].items()]
        return _struct(properties, [_sql_type(prop) for prop in properties])
    return _TYPES.get(kind, "VARCHAR")


def _struct(specs: list[dict[str, Any]], types: list[str]) -> str:
    names = ['"' + str(spec.get("name", place)).replace('"', '""') + '"' for place, spec in enumerate(specs)]
    return f"STRUCT({', '.join(f'{name} {sql_type}' for name, sql_type in zip(names, types, strict=True))})"
