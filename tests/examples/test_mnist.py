"""The walk-through of examples/mnist: handwritten digits by a scoring script, in one query."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

import sqlinfer

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist"
DATA = Path(__file__).parents[3] / "shared" / "data" / "mnist"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}")
def test_ten_thousand_digits_are_classified_in_one_query(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    shutil.copy(DATA / "model.pt", tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    files = (DATA / "t10k-images-idx3-ubyte.gz", DATA / "t10k-labels-idx1-ubyte.gz", tmp_path / "digits.parquet")
    runpy.run_path("idx_to_parquet.py")["convert"](*files)
    with sqlinfer.connect() as con:
        con.execute(
            "CREATE MODEL digits FROM './model' WITH (script = 'score.py', input = 'BLOB', trust = true, "
            "returns = 'STRUCT(class INTEGER, probability DOUBLE)', mini_batch_size = 1000)"
        )
        con.execute((tmp_path / "accuracy.sql").read_text())
        images, accuracy = con.fetchone()
    assert images == 10_000
    assert accuracy > 0.9
