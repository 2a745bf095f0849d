"""MLflow models that worker processes score: sklearn, xgboost and pyfunc, with the logged signature."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

import sqlinfer
from sqlinfer.errors import ModelUnusable
from sqlinfer.mlflow import register_model
from sqlinfer.scoring.loaders.mlflow import _sql_type

ROWS = pd.DataFrame({"age": np.arange(40), "weight": np.linspace(50, 90, 40)})
LABELS = (ROWS.age > 20).astype("int64")


def save_sklearn(folder: Path, requirement: str = "scikit-learn") -> Any:
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(ROWS, LABELS)
    signature = infer_signature(ROWS, LABELS)
    mlflow.sklearn.save_model(model, folder, signature=signature, pip_requirements=[requirement])
    return model


def save_xgboost(folder: Path) -> Any:
    import mlflow
    from mlflow.models import infer_signature
    from xgboost import XGBRegressor

    model = XGBRegressor(n_estimators=3).fit(ROWS, LABELS)
    signature = infer_signature(ROWS, model.predict(ROWS))
    mlflow.xgboost.save_model(model, folder, signature=signature, pip_requirements=["xgboost==3.2.0"])
    return model


def save_pyfunc(folder: Path) -> Any:
    """Of a tensor without a name: its rows are lists."""
    import mlflow
    from mlflow.models import infer_signature

    class Sum(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints
            return model_input.sum(axis=1)

    rows = ROWS.to_numpy()
    with warnings.catch_warnings(action="ignore"):
        signature = infer_signature(rows, rows.sum(axis=1))
        mlflow.pyfunc.save_model(folder, python_model=Sum(), signature=signature, pip_requirements=["numpy"])
    return Sum()


@pytest.mark.parametrize(
    ("save", "row", "input_type"),
    [
        (save_sklearn, "{weight: weight, age: age}", "STRUCT(age BIGINT, weight DOUBLE)"),
        (save_xgboost, "t", "STRUCT(age BIGINT, weight DOUBLE)"),
        (save_pyfunc, "[age, weight]", "DOUBLE[]"),
    ],
)
def test_sql_gives_what_predict_gives(
    home: Path, tmp_path: Path, save: Callable[[Path], Any], row: str, input_type: str
) -> None:
    model = save(tmp_path / "model")
    expected = model.predict(ROWS) if save is not save_pyfunc else ROWS.to_numpy().sum(axis=1)
    with sqlinfer.connect() as con:
        con.execute(f"CREATE MODEL scored FROM '{tmp_path / 'model'}' WITH (trust = true)").fetchall()
        scorer = con.runtime.store.registry.get("scored").scorer
        assert (scorer.loader, scorer.input_type) == ("mlflow", input_type)
        con.register("t", ROWS)
        rows = con.sql(f"SELECT ai_predict('scored', {row}) AS result FROM t ORDER BY age").df()
    assert rows.result.tolist() == pytest.approx(list(expected))


def test_columns_are_matched_by_name_and_optional_ones_may_be_missing(home: Path, tmp_path: Path) -> None:
    import mlflow
    from mlflow.types import ColSpec, DataType, Schema

    class Weigh(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints
            return model_input.age + (model_input.weight if "weight" in model_input else 0)

    inputs = [ColSpec(DataType.long, "age"), ColSpec(DataType.double, "weight", required=False)]
    signature = mlflow.models.ModelSignature(Schema(inputs), Schema([ColSpec(DataType.double)]))
    with warnings.catch_warnings(action="ignore"):
        mlflow.pyfunc.save_model(
            tmp_path / "model", python_model=Weigh(), signature=signature, pip_requirements=["numpy"]
        )
    with sqlinfer.connect() as con:
        con.execute(f"CREATE MODEL weigh FROM '{tmp_path / 'model'}' WITH (trust = true)").fetchall()
        assert con.sql("SELECT ai_predict('weigh', {age: 3})").fetchall() == [(3.0,)]
        assert con.sql("SELECT ai_predict('weigh', {weight: 0.5, age: 3})").fetchall() == [(3.5,)]
        with pytest.raises(duckdb.Error, match=r"misses age.*does not know old"):
            con.sql("SELECT ai_predict('weigh', {old: 3})").fetchall()
        row = "{age: nullif(i, 2)}"
        rows = con.sql(f"SELECT ai_predict('weigh', {row}, on_error := 'null') FROM range(1, 4) t(i)").fetchall()
        assert rows == [(1.0,), (None,), (3.0,)]


def test_code_of_an_author_runs_only_when_it_is_trusted(registry: Any, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: os}}")
    with pytest.raises(ModelUnusable, match=r"can run code of its author\. If you trust it, add --trust"):
        register_model(registry, "m", str(tmp_path))


def test_other_versions_are_named_with_both_numbers(
    registry: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import sklearn

    save_sklearn(tmp_path / "model", "scikit-learn==1.2.0")
    file = tmp_path / "model" / "MLmodel"
    (version,) = [line for line in file.read_text().splitlines() if "python_version" in line]
    file.write_text(file.read_text().replace(version, "    python_version: 3.9.1"))
    register_model(registry, "m", str(tmp_path / "model"), trust=True)
    assert "Python 3.9.1 (here 3." in caplog.text
    assert f"scikit-learn 1.2.0 (here {sklearn.__version__})" in caplog.text


def test_a_model_that_cannot_be_loaded_names_the_other_versions_too(registry: Any, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: os, python_version: 3.9.1}}")
    with pytest.raises(ModelUnusable, match=r"cannot be .*It was logged with other versions: Python 3\.9\.1 \(here 3"):
        register_model(registry, "m", str(tmp_path), trust=True)


def test_libraries_that_are_missing_are_named_as_pip_takes_them(registry: Any, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: os}}")
    (tmp_path / "requirements.txt").write_text("mlflow==2.1\nnumpy\nno-such[all]==1.2.3 ; python_version > '3'\n")
    with pytest.raises(ModelUnusable, match=r"cannot be .*: pip install no-such==1\.2\.3$"):
        register_model(registry, "m", str(tmp_path), trust=True)


def test_a_logged_schema_is_a_sql_type() -> None:
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import Array, Map, Object, Property

    columns = {name: ColSpec(getattr(DataType, name), name) for name in ("boolean", "integer", "long", "float")}
    columns |= {name: ColSpec(getattr(DataType, name), name) for name in ("double", "string", "binary", "datetime")}
    types = ["BOOLEAN", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "VARCHAR", "BLOB", "TIMESTAMP"]
    assert [_sql_type(spec) for spec in Schema(list(columns.values())).to_dict()] == types
    nested = Object([Property("a b", DataType.long), Property("c", Array(DataType.string))])
    for kind, sql_type in ((Array(DataType.double), "DOUBLE[]"), (Map(DataType.long), "MAP(VARCHAR, BIGINT)")):
        assert _sql_type(Schema([ColSpec(kind, "x")]).to_dict()[0]) == sql_type
    assert _sql_type(Schema([ColSpec(nested, "x")]).to_dict()[0]) == 'STRUCT("a b" BIGINT, "c" VARCHAR[])'
    shapes = {(-1,): "FLOAT", (-1, 1): "FLOAT", (-1, 784): "FLOAT[]", (-1, 28, 28): "FLOAT[][]"}
    for shape, sql_type in shapes.items():
        assert _sql_type(Schema([TensorSpec(np.dtype("float32"), shape)]).to_dict()[0]) == sql_type
