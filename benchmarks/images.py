"""Ten thousand digits by a scoring script: one SQL query against the same script called with one file at a time.

Usage: python -m benchmarks images FOLDER [NUM_FILES]. FOLDER has MNIST's t10k files and model.pt, for examples/mnist.
The peer reads one file of pixels, calls the script's run() with it alone and keeps the result as a JSON file, as
a loop over an endpoint does without the network. Ours is the query over the same files, and over them as rows of a
table: keys and the store's commits count. All have the model loaded: ours by a query over another image.
Prints all, then one line of JSON.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb

import sqlinfer

EXAMPLE = Path(__file__).parents[1] / "examples" / "mnist"
ROUNDS = 3


def main(argv: Sequence[str]) -> None:
    """Time both in turn, and print the medians."""
    num_files = int(argv[1]) if len(argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(Path(argv[0]), folder, num_files)
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(ROUNDS):
            answers = {}
            for way, run in WAYS.items():
                answers[way], elapsed_s = run(folder, number)
                seconds[way].append(elapsed_s)
            if any(answer != answers["one_file_at_a_time"] for answer in answers.values()):
                sys.exit("the ways give different classes")
    rates = {way: round(num_files / sorted(each)[ROUNDS // 2], 1) for way, each in seconds.items()}
    print(f"{os.cpu_count()} cores, {num_files:,} images; images a second, median of {ROUNDS} rounds in turn")
    times = {way: round(rate / rates["one_file_at_a_time"], 2) for way, rate in rates.items()}
    for way, rate in rates.items():
        print(f"{way:20} {rate:>10,} {times[way]:>8} x")
    print(json.dumps({"images": num_files, "rates": rates, "times": times}))


def _write(data: Path, folder: Path, num_files: int) -> None:
    shutil.copytree(EXAMPLE / "model", folder / "model")
    shutil.copy(data / "model.pt", folder / "model")
    files = (data / "t10k-images-idx3-ubyte.gz", data / "t10k-labels-idx1-ubyte.gz", folder / "digits.parquet")
    runpy.run_path(str(EXAMPLE / "idx_to_parquet.py"))["convert"](*files)
    (folder / "files").mkdir()
    rows = duckdb.sql(f"SELECT id, content FROM '{files[-1]}' ORDER BY id LIMIT {num_files}").fetchall()
    duckdb.sql(f"COPY (FROM '{files[-1]}' ORDER BY id LIMIT {num_files}) TO '{files[-1]}.part' (FORMAT parquet)")
    Path(f"{files[-1]}.part").replace(files[-1])
    for number, content in rows:
        (folder / "files" / f"{number:05}.raw").write_bytes(content)


def _one_by_one(folder: Path, number: int) -> tuple[list[int], float]:
    os.environ["SQLINFER_MODEL_DIR"] = str(folder / "model")
    script = runpy.run_path(str(folder / "model" / "score.py"))
    script["init"]()
    outputs = folder / f"outputs-{number}"
    outputs.mkdir()
    classes = []
    start_s = time.perf_counter()
    for file in sorted((folder / "files").iterdir()):
        result = script["run"]([file.read_bytes()])
        (outputs / file.with_suffix(".json").name).write_text(result.to_json(orient="records"))
        classes.append(int(result["class"].iloc[0]))
    return classes, time.perf_counter() - start_s


def _from_files(folder: Path, number: int) -> tuple[list[int], float]:
    source = f"(SELECT filename AS name, content FROM read_blob('{folder / 'files'}/*.raw'))"
    return _in_sql(folder, source, folder / f"files-{number}")


def _from_table(folder: Path, number: int) -> tuple[list[int], float]:
    source = f"(SELECT id AS name, content FROM '{folder / 'digits.parquet'}')"
    return _in_sql(folder, source, folder / f"table-{number}")


def _in_sql(folder: Path, source: str, home: Path) -> tuple[list[int], float]:
    os.environ["SQLINFER_HOME"] = str(home)
    with sqlinfer.connect() as con:
        con.execute(
            f"CREATE MODEL digits FROM '{folder / 'model'}' WITH (script = 'score.py', input = 'BLOB', trust = true, "
            "returns = 'STRUCT(class INTEGER, probability DOUBLE)', mini_batch_size = 1000)"
        )
        predicted = f"SELECT name, ai_predict('digits', content) AS p FROM {source}"
        con.sql("SELECT ai_predict('digits', repeat('a', 784)::BLOB)").fetchall()
        start_s = time.perf_counter()
        labels = [label for (label,) in con.sql(f"SELECT p.class FROM ({predicted}) ORDER BY name").fetchall()]
        return labels, time.perf_counter() - start_s


WAYS = {"one_file_at_a_time": _one_by_one, "sql_files": _from_files, "sql_table": _from_table}
