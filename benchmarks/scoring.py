"""A million rows through a fitted pipeline: predict on one DataFrame, a plain DuckDB function around it, and ours; and
the floor, a plain DuckDB function that gets the rows and does nothing.

Usage: python -m benchmarks scoring [NUM_ROWS]. The pipeline scales, encodes and classifies rows of the heart table; all
run in turn, three times, and the best of each counts, in seconds, and in CPU seconds of this process and its workers.
Prints a table, then one line of JSON.
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
            add_functions(plain, model)
            measures: dict[str, Callable[[], object]] = {
                "predict on one DataFrame": lambda: model.predict(rows),
                "plain DuckDB function": lambda: predict_in(plain, "predict(h)"),
                "function that does nothing": lambda: predict_in(plain, "nothing(h)"),
                "ai_predict": lambda: predict_in(session, "ai_predict('heart', h)"),
            }
            measures["ai_predict"]()  # the worker process starts
            rounds = [{name: seconds_of(run) for name, run in measures.items()} for _ in range(RUNS)]
            expected = int(model.predict(rows).sum())
            assert session.execute("SELECT sum(p)::BIGINT FROM scored").fetchone() == (expected,)
    print(
        f"{num_rows:,} rows, duckdb {duckdb.__version__}, scikit-learn {sklearn.__version__}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores"
    )
    best = {name: tuple(map(min, zip(*(each[name] for each in rounds), strict=True))) for name in measures}
    first_s, first_cpu_s = next(iter(best.values()))
    for name, (wall_s, cpu_s) in best.items():
        print(f"{name:28}{wall_s:>8.2f} s{wall_s / first_s:>8.2f}x{cpu_s:>10.2f} CPU s{cpu_s / first_cpu_s:>8.2f}x")
    print(json.dumps({"num_rows": num_rows, **{name: [round(s, 3) for s in value] for name, value in best.items()}}))


def fitted(table: pd.DataFrame, target: pd.Series[int]) -> Pipeline:
    """A pipeline of a user's: scaled numbers, encoded categories, a linear classifier."""
    categories = [name for name in table if name not in NUMBERS]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = make_column_transformer((StandardScaler(), NUMBERS), (encoder, categories))
    return make_pipeline(prepare, LogisticRegression(max_iter=1000)).fit(table, target)


def add_functions(connection: duckdb.DuckDBPyConnection, model: Pipeline) -> None:
    """What one would write without us, a vectorized function around predict; and one that does nothing."""

    def predict(rows: pa.ChunkedArray) -> pa.Array:
        frame = pa.Table.from_struct_array(rows).to_pandas()
        return pa.array(np.asarray(model.predict(frame)), pa.int64())

    def nothing(rows: pa.ChunkedArray) -> pa.Array:
        return pa.array(np.zeros(len(rows), np.int64))

    row = str(connection.sql("SELECT h FROM heart h LIMIT 0").types[0])
    connection.create_function("predict", predict, [row], "BIGINT", type="arrow")
    connection.create_function("nothing", nothing, [row], "BIGINT", type="arrow")


def predict_in(connection: Session | duckdb.DuckDBPyConnection, call: str) -> None:
    """Make a table of predictions."""
    connection.execute(f"CREATE OR REPLACE TABLE scored AS SELECT {call} AS p FROM heart h").fetchall()


def seconds_of(run: Callable[[], object]) -> tuple[float, float]:
    """How long something takes, and the CPU time of this process and of its workers, which do not end."""
    started_s, started_cpu_s = time.perf_counter(), cpu_s()
    run()
    return time.perf_counter() - started_s, cpu_s() - started_cpu_s


def cpu_s() -> float:
    """CPU time of this process and of those that it started."""
    own = os.times()
    children = [pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in children]
    return own.user + own.system + sum(int(n) for stat in stats for n in stat[11:13]) / os.sysconf("SC_CLK_TCK")
