"""A million rows through a fitted pipeline: predict on one DataFrame, a plain DuckDB function around it, and ours.

Usage: python -m benchmarks scoring [NUM_ROWS]. The pipeline scales, encodes and classifies rows of the heart table; all
three run in turn, three times, and the best of each counts. Prints a table, then one line of JSON.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sqlinfer.sql import Session, connect

HEART = Path(__file__).parents[2] / "shared" / "data" / "heart" / "heart-labeled.csv"
NUMBERS = ["age", "trestbps", "chol", "thalach", "oldpeak"]
RUNS = 3


def main(argv: Sequence[str]) -> None:
    """Measure each and print."""
    num_rows = int(argv[0]) if argv else 1_000_000
    table = pd.read_csv(HEART)
    target = table.pop("target")
    model = fitted(table, target)
    rows = table.sample(num_rows, replace=True, random_state=0).reset_index(drop=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SQLINFER_HOME"] = folder
        joblib.dump(model, f"{folder}/heart.joblib")
        with connect() as session, duckdb.connect() as plain:
            session.execute(f"CREATE MODEL heart FROM '{folder}/heart.joblib' WITH (trust = true)").fetchall()
            for connection in (session, plain):
                connection.register("sampled", rows)
                connection.execute("CREATE TABLE heart AS FROM sampled").fetchall()
            add_function(plain, model)
            measures: dict[str, Callable[[], object]] = {
                "predict on one DataFrame": lambda: model.predict(rows),
                "plain DuckDB function": lambda: predict_in(plain, "predict(h)"),
                "ai_predict": lambda: predict_in(session, "ai_predict('heart', h)"),
            }
            measures["ai_predict"]()  # the worker process starts
            seconds = {name: min(seconds_of(run) for _ in range(RUNS)) for name, run in measures.items()}
            expected = int(model.predict(rows).sum())
            assert session.execute("SELECT sum(p)::BIGINT FROM scored").fetchone() == (expected,)
    print(
        f"{num_rows:,} rows, duckdb {duckdb.__version__}, scikit-learn {sklearn.__version__}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores"
    )
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"{name:28}{value:>8.2f} s{value / first:>8.2f}x")
    print(json.dumps({"num_rows": num_rows, **{name: round(value, 3) for name, value in seconds.items()}}))


def fitted(table: pd.DataFrame, target: pd.Series[int]) -> Pipeline:
    """A pipeline of a user's: scaled numbers, encoded categories, a linear classifier."""
    categories = [name for name in table if name not in NUMBERS]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = make_column_transformer((StandardScaler(), NUMBERS), (encoder, categories))
    return make_pipeline(prepare, LogisticRegression(max_iter=1000)).fit(table, target)


def add_function(connection: duckdb.DuckDBPyConnection, model: Pipeline) -> None:
    """What one would write without us: a vectorized function around predict."""

    def predict(rows: pa.ChunkedArray) -> pa.Array:
        frame = pa.Table.from_struct_array(rows).to_pandas()
        return pa.array(np.asarray(model.predict(frame)), pa.int64())

    row = str(connection.sql("SELECT h FROM heart h LIMIT 0").types[0])
    connection.create_function("predict", predict, [row], "BIGINT", type="arrow")


def predict_in(connection: Session | duckdb.DuckDBPyConnection, call: str) -> None:
    """Make a table of predictions."""
    connection.execute(f"CREATE OR REPLACE TABLE scored AS SELECT {call} AS p FROM heart h").fetchall()


def seconds_of(run: Callable[[], object]) -> float:
    """How long something takes."""
    started_s = time.perf_counter()
    run()
    return time.perf_counter() - started_s
