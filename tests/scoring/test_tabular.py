"""Laws of tabular and ONNX models in SQL: columns by name, checked before a row is scored; nothing is kept."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import sqlinfer
from sqlinfer import SqlinferError
from sqlinfer.scoring import worker
from sqlinfer.scoring.values import read_type
from sqlinfer.sql import Session
from sqlinfer.sql.explain.explain import explain

joblib = pytest.importorskip("joblib")
pytest.importorskip("sklearn")
ROWS = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0] * 5, "colour": ["red", "blue"] * 10, "weight": range(20)})
LABELS = pd.Series(["small", "small", "large", "large"] * 5)
STRICT = "{size: size, colour: colour, weight: weight}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of fitted models."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    folder = tmp_path_factory.mktemp("models")
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = make_column_transformer((StandardScaler(), ["size", "weight"]), (encoder, ["colour"]))
    pipeline = make_pipeline(prepare, LogisticRegression()).fit(ROWS, LABELS)
    joblib.dump(pipeline, folder / "sizes.joblib")
    joblib.dump(prepare, folder / "prepare.joblib")
    numbers = ROWS[["size", "weight"]]
    joblib.dump(HistGradientBoostingRegressor(min_samples_leaf=1).fit(numbers, ROWS["size"]), folder / "boost.joblib")
    joblib.dump(LogisticRegression().fit(numbers.to_numpy(), LABELS), folder / "unnamed.joblib")
    return folder


@pytest.fixture
def con(home: Path, models: Path) -> Iterator[Session]:
    with sqlinfer.connect() as session:
        session.register("frame", ROWS)
        session.execute("CREATE TABLE t AS FROM frame")
        session.execute(f"CREATE MODEL sizes FROM '{models}/sizes.joblib' WITH (trust = true)")
        yield session


def test_a_model_scores_whole_rows_as_predict_does(con: Session, models: Path) -> None:
    expected = list(joblib.load(models / "sizes.joblib").predict(ROWS))
    rows = con.sql("SELECT ai_predict('sizes', t) FROM t").fetchall()
    assert [label for (label,) in rows] == expected
    assert con.sql("SELECT ai_predict('sizes', t) FROM (SELECT *, 1 AS id FROM t) t").fetchall() == rows
    assert con.sql(f"SELECT ai_predict('sizes', {STRICT}) FROM t").fetchall() == rows
    assert con.sql("SELECT ai_predict('sizes', {WEIGHT: weight, Colour: colour, size: size}) FROM t").fetchall() == rows


def test_nothing_is_kept_and_the_job_counts_its_rows(con: Session) -> None:
    con.execute("CREATE TABLE made AS SELECT ai_predict('sizes', t) AS label FROM t")
    con.execute("SELECT ai_predict('sizes', t) FROM t")
    assert len(con.fetchall()) == 20
    assert [(job.state, job.rows, job.generated, job.failed) for job in con.runtime.store.jobs.list()] == [
        ("done", 20, 20, 0),
        ("done", 20, 20, 0),
    ]
    assert con.runtime.store.answers.stats()["answers"] == 0


def test_a_connection_is_after_scoring_as_it_was_before(con: Session) -> None:
    def thread(rows: pa.ChunkedArray) -> pa.Array:
        time.sleep(0.01)
        return pa.array([threading.get_ident()] * len(rows))

    con.fetchall()
    con.create_function("thread", thread, ["BIGINT"], "BIGINT", type="arrow")
    con.execute("SET threads = 4; CREATE TABLE numbers AS SELECT range AS i FROM range(40_000)")
    con.sql("SELECT ai_predict('sizes', t) FROM t").fetchall()
    con.execute("CREATE TABLE scored AS SELECT ai_predict('sizes', t) AS size FROM t")
    assert con.execute("SELECT current_setting('threads'), count(*) FROM scored").fetchall() == [(4, len(ROWS))]
    assert con.execute("SELECT count(DISTINCT thread(i)) FROM numbers").fetchall() == [(1,)], "a row group is a task"


def test_kept_results_are_scored_once(con: Session, models: Path) -> None:
    con.execute(f"CREATE MODEL kept FROM '{models}/sizes.joblib' WITH (trust = true, cached = true)")
    rows = [con.sql("SELECT ai_predict('kept', t) FROM t").fetchall() for _ in range(2)]
    assert rows[0] == rows[1] == con.sql("SELECT ai_predict('sizes', t) FROM t").fetchall()
    assert [job.generated for job in con.runtime.store.jobs.list()] == [20, 0, 20]


def test_all_columns_that_do_not_fit_are_named_at_once(con: Session) -> None:
    with pytest.raises(SqlinferError) as error:
        con.sql("SELECT ai_predict('sizes', {size: colour, wieght: weight, id: 1}) FROM t").fetchall()
    assert "misses colour, weight" in str(error.value)
    assert "does not know wieght, id" in str(error.value)
    assert "cannot take size (VARCHAR, not DOUBLE)" in str(error.value)
    assert "Did you mean weight?" in str(error.value)
    with pytest.raises(SqlinferError, match="does not know id"):
        con.sql("SELECT ai_predict('sizes', {size: size, colour: colour, weight: weight, id: 1}) FROM t").fetchall()
    with pytest.raises(SqlinferError, match="takes a row with the columns size DOUBLE"):
        con.sql("SELECT ai_predict('sizes', size) FROM t").fetchall()
    assert con.runtime.store.jobs.list()[0].generated == 0


def test_a_null_that_a_model_does_not_take_costs_its_row(con: Session, models: Path) -> None:
    nulls = "SELECT ai_predict('sizes', {size: nullif(size, 4), colour: NULL, weight: weight}{}) AS p FROM t"
    with pytest.raises(SqlinferError, match="size is NULL, which the model does not take"):
        con.sql(nulls.replace("{}", "")).fetchall()
    with_nulls = nulls.replace("{}", ", on_error := 'null'")
    assert con.sql(f"SELECT count(*), count(p) FROM ({with_nulls})").fetchall() == [(20, 15)]
    assert con.runtime.store.jobs.list()[0].failed == 5
    con.execute(f"CREATE MODEL boost FROM '{models}/boost.joblib' WITH (trust = true)")
    assert con.sql("SELECT ai_predict('boost', {size: NULL, weight: 1})").fetchall()[0][0] is not None


def test_probabilities_and_transformed_columns_are_structs(con: Session, models: Path) -> None:
    returns = "STRUCT(label VARCHAR, probability DOUBLE)"
    con.execute(f"CREATE MODEL p FROM '{models}/sizes.joblib' WITH (trust = true, returns = '{returns}')")
    assert con.sql("SELECT bool_and(p.probability BETWEEN 0.5 AND 1) FROM (SELECT ai_predict('p', t) p FROM t)"
                   ).fetchall() == [(True,)]  # fmt: skip
    con.execute(f"CREATE MODEL prepare FROM '{models}/prepare.joblib' WITH (trust = true)")
    columns = con.sql("SELECT unnest(ai_predict('prepare', t)) FROM t")
    assert columns.columns == ["size", "weight", "colour_blue", "colour_red"]


def test_models_without_column_names_take_lists_or_registered_columns(con: Session, models: Path) -> None:
    con.execute(f"CREATE MODEL lists FROM '{models}/unnamed.joblib' WITH (trust = true)")
    row = "STRUCT(size DOUBLE, weight DOUBLE)"
    con.execute(f"CREATE MODEL named FROM '{models}/unnamed.joblib' WITH (trust = true, input = '{row}')")
    by_place = con.sql("SELECT ai_predict('lists', [size, weight]) FROM t").fetchall()
    assert con.sql("SELECT ai_predict('named', {weight: weight, size: size}) FROM t").fetchall() == by_place
    some = (
        "SELECT ai_predict('lists', CASE WHEN weight = 3 THEN [1] ELSE [size, weight] END, on_error := '{}') p FROM t"
    )
    assert con.sql(f"SELECT count(p) FROM ({some.format('null')})").fetchall() == [(19,)]
    for statement, problem in [
        (some.format("fail"), "takes a list of 2 values, not 1"),
        ("SELECT ai_predict('lists', size) FROM t", "takes a list of 2 values.*not a value of the type DOUBLE"),
    ]:
        with pytest.raises(SqlinferError, match=problem):
            con.sql(statement).fetchall()
    with pytest.raises(SqlinferError, match="it takes 2 columns, not 1"):
        con.execute(f"CREATE MODEL o FROM '{models}/unnamed.joblib' WITH (trust = true, input = 'STRUCT(a DOUBLE)')")


def test_a_cached_call_beside_it_and_views_see_its_values(con: Session) -> None:
    con.execute("CREATE VIEW v AS SELECT weight, ai_predict('sizes', t) AS label FROM t")
    counts = con.sql("SELECT label, count(*) FROM v GROUP BY label ORDER BY label").fetchall()
    assert counts == [("large", 10), ("small", 10)]
    joined = con.sql("SELECT count(*) FROM v WHERE ai_count_tokens(label, model := 'sqlinfer/tiny') > 0").fetchall()
    assert joined == [(20,)]


def test_a_plain_connection_scores_rows_too(home: Path, con: Session) -> None:
    import duckdb

    with duckdb.connect() as plain, sqlinfer.register(plain):
        plain.register("t", ROWS)
        values = plain.execute("SELECT ai_predict('sizes', t) FROM t").fetchall()
        assert values == con.sql("SELECT ai_predict('sizes', t) FROM t").fetchall()
    assert con.runtime.store.answers.stats()["answers"] == 0


def test_explain_scores_nothing_and_tells_that_nothing_is_kept(con: Session) -> None:
    explanation = explain(con, {"q": "SELECT ai_predict('sizes', t) FROM t"})
    (call,) = explanation.calls
    assert (call.model, call.rows, call.requests, call.is_kept) == ("sizes/1", 20, 0, False)


def test_xgboost_and_lightgbm_need_no_trust(con: Session, tmp_path: Path) -> None:
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    numbers, target = ROWS[["size", "weight"]], (LABELS == "large").astype(int)
    fitted = xgboost.XGBClassifier(n_estimators=3).fit(numbers, target)
    fitted.save_model(tmp_path / "x.ubj")
    light = lightgbm.LGBMClassifier(n_estimators=3, min_child_samples=1, verbose=-1).fit(numbers, target)
    light.booster_.save_model(tmp_path / "l.txt")
    for name, model in {"x.ubj": fitted, "l.txt": light}.items():
        con.execute(f"CREATE OR REPLACE MODEL m FROM '{tmp_path}/{name}'")
        values = [value for (value,) in con.sql("SELECT ai_predict('m', t) FROM t").fetchall()]
        assert values == model.predict(numbers).tolist()


def test_boosted_trees_give_what_their_own_predict_gives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    numbers, target = ROWS[["size", "weight"]], (LABELS == "large").astype(int)
    matrix, two = xgboost.DMatrix(numbers, target), np.stack([target, target * 2.0], axis=1)
    stopped = xgboost.XGBRegressor(n_estimators=9, early_stopping_rounds=2, learning_rate=1.0)
    stopped.fit(numbers, target, eval_set=[(numbers, 1 - target)], verbose=False)
    assert stopped.best_iteration < stopped.get_booster().num_boosted_rounds() - 1
    several = xgboost.XGBRegressor(n_estimators=2).fit(numbers, two)
    hinge = xgboost.train({"objective": "binary:hinge"}, matrix, 2)
    coloured = ROWS[["size", "colour"]].astype({"colour": "category"})
    light = lightgbm.LGBMRegressor(n_estimators=3, min_child_samples=1, min_data_per_group=1, cat_smooth=0, verbose=-1)
    light.fit(coloured, (ROWS["colour"] == "red") * ROWS["size"])
    for model in (stopped, several, hinge):
        model.save_model(tmp_path / f"{id(model)}.ubj")
    light.booster_.save_model(tmp_path / f"{id(light)}.txt")
    for model, values, returns in [
        (stopped, stopped.predict(numbers), "DOUBLE"),
        (several, several.predict(numbers), "DOUBLE[2]"),
        (hinge, hinge.predict(matrix), "BIGINT"),
        (light, light.predict(coloured), "DOUBLE"),
    ]:
        found, scored = _scored(next(tmp_path.glob(f"{id(model)}.*")), monkeypatch, ROWS)
        assert found == returns
        assert np.allclose(scored, values)


def _scored(
    file: Path, monkeypatch: pytest.MonkeyPatch, rows: pd.DataFrame | list[list[float]]
) -> tuple[str, list[Any]]:
    """The SQL type that a model of a library gives, and its results, as a worker process has them."""
    monkeypatch.setattr("os.environ", {})
    model = worker.load(file, "", {".ubj": "xgboost", ".txt": "lightgbm", ".onnx": "onnx"}[file.suffix])
    known = worker.signature(model, pa.null())
    batch = rows if isinstance(rows, list) else rows[list(known["input"])].to_dict("records")
    scored = worker.score(model, pa.array(batch), read_type(known["returns"])[1])
    return known["returns"], scored.to_pylist()


def test_onnx_graphs_need_no_trust(con: Session, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    to_onnx = pytest.importorskip("skl2onnx").to_onnx
    model = joblib.load(models / "unnamed.joblib")
    graph = to_onnx(model, np.zeros((1, 2), dtype=np.float32))
    (tmp_path / "graph").mkdir()
    (tmp_path / "graph" / "model.onnx").write_bytes(graph.SerializeToString())
    con.execute(f"CREATE MODEL graph FROM '{tmp_path}/graph'")
    values = con.sql("SELECT ai_predict('graph', [size, weight]) FROM t").fetchall()
    expected = list(model.predict(ROWS[["size", "weight"]].to_numpy()))
    assert [value for (value,) in values] == expected
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3  # as exports without dynamic axes have it
    (tmp_path / "fixed.onnx").write_bytes(graph.SerializeToString())
    numbers = ROWS[["size", "weight"]].to_numpy().tolist()
    assert _scored(tmp_path / "fixed.onnx", monkeypatch, numbers) == ("VARCHAR", expected)


def test_what_cannot_be_a_model_is_refused_by_name(con: Session, models: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    (tmp_path / "cut.ubj").write_bytes(b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner")
    (tmp_path / "other.json").write_text(json.dumps({"a": 1}))
    for source, options, problem in [
        (f"{models}/sizes.joblib", "dtype = 'auto'", "loading a pickle can run arbitrary code"),
        (f"{tmp_path}/notes.txt", "trust = true", "is no model that is known here"),
        (f"{tmp_path}/other.json", "trust = true", "is no model that is known here"),
        (f"{tmp_path}/list.pkl", "trust = true", "a list is no model"),
        (f"{tmp_path}/cut.ubj", "dtype = 'auto'", "cut.ubj cannot be loaded: ValueError: .* Expecting"),
        (f"{models}", "trust = true", "holds several models"),
        (f"{models}/size.joblib", "trust = true", "There is no folder or file .*Did you mean sizes.joblib"),
        (f"{models}/sizes.joblib", "trust = true, returns = 'STRUCT(p DOUBLE)'", "label, probability, and no p"),
        (f"{models}/sizes.joblib", "trust = true, input = 'STRUCT(size DOUBLE)'", "it misses colour, weight"),
    ]:
        with pytest.raises(SqlinferError, match=problem):
            con.execute(f"CREATE MODEL bad FROM '{source}' WITH ({options})")


def test_another_version_of_scikit_learn_is_named(con: Session, models: Path, tmp_path: Path) -> None:
    import sklearn

    old = (models / "unnamed.joblib").read_bytes().replace(sklearn.__version__.encode(), b"0.9.1")
    (tmp_path / "old.joblib").write_bytes(old)
    with pytest.raises(SqlinferError, match=rf"saved with scikit-learn 0.9.1, and {sklearn.__version__} is installed"):
        con.execute(f"CREATE MODEL old FROM '{tmp_path}/old.joblib' WITH (trust = true)")
