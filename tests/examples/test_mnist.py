"""The walk-through of examples/mnist: handwritten digits by two models of one name, a network and a forest."""

from __future__ import annotations

import csv
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import sqlinfer
from sqlinfer.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist"
DATA = Path(__file__).parents[3] / "shared" / "data" / "mnist"
OPTIONS = (
    "WITH (script = 'score.py', input = 'BLOB', trust = true, "
    "returns = 'STRUCT(class INTEGER, probability DOUBLE)', mini_batch_size = 1000)"
)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder with its data, and the forest trained."""
    folder = tmp_path_factory.mktemp("mnist")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    shutil.copy(DATA / "model.pt", folder / "model")
    table = folder / "digits.parquet"
    files = (DATA / "t10k-images-idx3-ubyte.gz", DATA / "t10k-labels-idx1-ubyte.gz", table)
    runpy.run_path(str(folder / "idx_to_parquet.py"))["convert"](*files)
    runpy.run_path(str(folder / "forest" / "train.py"))["train"](table, folder / "forest" / "model.onnx")
    return folder


@pytest.fixture
def con(home: Path, example: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlinfer.Session]:
    monkeypatch.chdir(example)
    with sqlinfer.connect() as session:
        session.execute(f"CREATE MODEL digits FROM './model' {OPTIONS}")
        yield session


def predictions(con: sqlinfer.Session, example: Path) -> list[dict[str, str]]:
    con.execute("SET sqlinfer_output_action = 'replace'")
    con.execute((example / "predict.sql").read_text())
    with (example / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_ten_thousand_digits_are_classified_in_one_query(con: sqlinfer.Session, example: Path) -> None:
    con.execute((example / "accuracy.sql").read_text())
    images, accuracy = con.fetchone()
    assert images == 10_000
    assert accuracy > 0.9


def test_two_versions_are_compared_and_the_deployed_one_answers_callers(con: sqlinfer.Session, example: Path) -> None:
    con.execute("CREATE OR REPLACE MODEL digits FROM './forest' " + OPTIONS)
    images, *shares = con.execute((example / "compare.sql").read_text()).fetchone()
    assert images == 5_000
    assert all(0.9 < share < 1 for share in shares)
    answers = {}
    for command in (["deploy", "digits", "1"], ["deploy", "digits", "2"], ["rollback", "digits"]):
        result = CliRunner().invoke(main, ["models", *command])
        assert result.exit_code == 0, result.output
        answers[" ".join(command)] = predictions(con, example)
    assert answers["deploy digits 1"] == answers["rollback digits"] != answers["deploy digits 2"]
    assert [int(row["id"]) for row in answers["rollback digits"]] == list(range(9_000, 10_000))
