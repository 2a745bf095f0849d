"""The walk-through of examples/heart: a transformation and a classifier of patients as two models, used in SQL."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

import sqlinfer

pytest.importorskip("sklearn")
EXAMPLE = Path(__file__).parents[2] / "examples" / "heart"
DATA = Path(__file__).parents[3] / "shared" / "data" / "heart"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}")
def test_patients_are_prepared_and_scored_and_the_predictions_collected(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "heart"
    shutil.copytree(EXAMPLE, folder)
    shutil.copy(DATA / "heart-unlabeled-0.csv", folder)
    monkeypatch.chdir(folder)
    runpy.run_path("fit.py")["fit"](DATA / "heart-labeled.csv")
    with sqlinfer.connect() as con:
        for name in ("register", "score", "score"):
            con.execute(Path(f"{name}.sql").read_text())
        num_rows = len((DATA / "heart-unlabeled-0.csv").read_text().splitlines()) - 1
        job = con.runtime.store.jobs.list()[0]
        assert (job.state, job.rows, job.failed) == ("done", num_rows, 0)
        assert con.execute(
            "SELECT count(*), bool_and(label IN (0, 1) AND probability BETWEEN 0.5 AND 1) FROM predictions"
        ).fetchall() == [(2 * num_rows, True)]
        con.execute(Path("clean.sql").read_text())
        assert [model.name for model in con.runtime.store.registry.list() if model.name.startswith("heart")] == []
    assert len(Path("predictions.csv").read_text().splitlines()) == 2 * num_rows + 1
