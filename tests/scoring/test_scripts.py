"""Laws of scoring scripts: each row has a result or an error of its own, whatever the script does."""

from __future__ import annotations

import json
import logging
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sqlinfer.scoring import SCORING_OUTPUT, ScoringEngine
from sqlinfer.types import ModelVersion, Predict, Scorer

Score = Callable[..., dict[str, Any]]


@pytest.fixture
def score(tmp_path: Path) -> Iterator[Score]:
    """Score texts with a script: the result of each, or its error as text."""
    engines = []

    def run(
        script: str, texts: list[str], returns: str = "INTEGER", sql_type: str = "VARCHAR", **settings: Any
    ) -> dict[str, Any]:
        (tmp_path / "score.py").write_text(textwrap.dedent(script))
        version = ModelVersion("m", 1, "", tmp_path, "f", scorer=Scorer("score.py", returns))
        engines.append(ScoringEngine(replace(version, settings={"max_retries": 0, **settings})))
        requests = [Predict(text, sql_type, key=str(i).encode()) for i, text in enumerate(texts)]
        completions = list(engines[-1].generate(requests))
        assert sorted(c.request.key for c in completions) == sorted(r.key for r in requests)
        return {c.request.text: c.error or json.loads(str(c.output)) for c in completions}

    yield run
    for engine in engines:
        engine.close()


def test_init_runs_once_and_run_gets_batches(score: Score) -> None:
    script = """
        calls = []
        def init():
            calls.append("init")
        def run(batch):
            calls.append(len(batch))
            return ["/".join(map(str, calls)) for _ in batch]
    """
    assert score(script, list("abc"), "VARCHAR", mini_batch_size=2) == {"a": "init/2", "b": "init/2", "c": "init/2/1"}


def test_a_class_with_load_and_predict_is_a_script(score: Score) -> None:
    script = """
        class Model:
            def load(self, path, device):
                self.device = device
            def predict(self, batch):
                return [text + self.device for text in batch]
    """
    assert score(script, ["a"], "VARCHAR") == {"a": "acpu"}


@pytest.mark.parametrize(
    ("returned", "returns", "value"),
    [
        ("[1 for _ in batch]", "INTEGER", 1),
        ("numpy.ones(len(batch))", "DOUBLE", 1.0),
        ("numpy.ones((len(batch), 2), dtype='float32')", "FLOAT[2]", [1.0, 1.0]),
        ("pandas.Series([1] * len(batch))", "BIGINT", 1),
        ("pandas.DataFrame({'a': ['x'] * len(batch), 'p': 0.5})", "STRUCT(a VARCHAR, p DOUBLE)", {"a": "x", "p": 0.5}),
        ("pandas.DataFrame({'label': ['x'] * len(batch)})", "VARCHAR", "x"),
        ("[numpy.float32(1.5) for _ in batch]", "DOUBLE", 1.5),
        ("[None for _ in batch]", "INTEGER", None),
        ("[{'a': 1} for _ in batch]", "STRUCT(a INTEGER)", {"a": 1}),
        ("[datetime.date(2020, 1, 2) for _ in batch]", "DATE", "2020-01-02"),
        ("[b'ab' for _ in batch]", "BLOB", "YWI="),
    ],
)  # fmt: skip
def test_results_of_any_shape_have_the_registered_type(score: Score, returned: str, returns: str, value: Any) -> None:
    script = f"import datetime, numpy, pandas\ndef run(batch):\n    return {returned}"
    assert score(script, ["a", "b"], returns) == {"a": value, "b": value}


@pytest.mark.parametrize(
    ("text", "sql_type", "shown"),
    [
        ("12", "INTEGER", "12"),
        ("YWI=", "BLOB", "b'ab'"),
        ("[1, 2]", "INTEGER[]", "[1, 2]"),
        ("2020-01-02", "DATE", "datetime.date(2020, 1, 2)"),
    ],
)
def test_values_come_with_their_type(score: Score, text: str, sql_type: str, shown: str) -> None:
    assert score("def run(batch):\n    return [repr(v) for v in batch]", [text], "VARCHAR", sql_type) == {text: shown}


def test_structs_come_as_a_frame(score: Score) -> None:
    script = "def run(frame):\n    return frame['b c'] + frame['a']"
    rows = ['{"a":1,"b c":10}', '{"a":2,"b c":20}']
    assert list(score(script, rows, "INTEGER", 'STRUCT(a INTEGER, "b c" INTEGER)').values()) == [11, 22]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("raise ValueError('bad row')", "ValueError: bad row (score.py, line 6)"),
        ("sys.exit(3)", "the model called sys.exit(3)"),
        ("os._exit(4)", "the model ended its process (status 4)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the model's process was ended by SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "the model's process was ended by SIGKILL (out of memory?)"),
        ("return list(range(9))", "ValueError: the model returned 9 values for 1 rows"),
        ("return ['x' for _ in batch]", "ArrowInvalid: Could not convert 'x'"),
        ("return 7", "TypeError: the model returned a int, not a list"),
        ("return 'x' * len(batch)", "TypeError: the model returned a str, not a list"),
        ("time.sleep(600)", "the model gave no answer within the timeout of 3 s"),
        ("os.close(int(sys.argv[1])); time.sleep(600)", "the model"),
    ],
)
def test_a_row_that_breaks_the_script_costs_itself(score: Score, statement: str, error: str) -> None:
    script = f"""
        import os, signal, sys, time

        def run(batch):
            if 'bad' in batch:
                {statement}
            return [len(text) for text in batch]
    """
    values = score(script, ["a", "bad", "cccc"], timeout=3)
    assert values.pop("bad").startswith(error)
    assert values == {"a": 1, "cccc": 4}


def test_a_batch_is_tried_again_before_it_is_halved(score: Score, tmp_path: Path) -> None:
    script = f"""
        import pathlib
        def run(batch):
            tries = pathlib.Path({str(tmp_path)!r}, "tries")
            tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
            if len(tries.read_text()) < 3:
                raise OSError("busy")
            return [1 for _ in batch]
    """
    assert score(script, ["a", "b"], max_retries=2) == {"a": 1, "b": 1}
    assert (tmp_path / "tries").read_text() == "xxx"


def test_what_a_script_prints_is_a_log(score: Score) -> None:
    script = """
        import os, sys
        def run(batch):
            print("scored", len(batch))
            print("with care", file=sys.stderr)
            os.write(1, b"raw" + bytes([10]) + b"x" * 3_000_000)
            return [1 for _ in batch]
    """
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    SCORING_OUTPUT.addHandler(handler)
    try:
        assert score(script, ["a"]) == {"a": 1}
    finally:
        SCORING_OUTPUT.removeHandler(handler)
    assert {"m/1: scored 1", "m/1: with care", "m/1: raw"} <= set(lines)


def test_several_workers_score_at_once(score: Score, tmp_path: Path) -> None:
    script = f"""
        import pathlib, time
        def run(batch):
            pathlib.Path({str(tmp_path)!r}, batch[0]).touch()
            while len(list(pathlib.Path({str(tmp_path)!r}).glob("w*"))) < 2:
                time.sleep(0.01)
            return [1]
    """
    both = score(script, ["w1", "w2"], mini_batch_size=1, max_concurrency_per_instance=2, timeout=60)
    assert both == {"w1": 1, "w2": 1}


def test_a_stop_ends_a_script_that_hangs(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("import time\ndef run(batch):\n    time.sleep(600)")
    version = ModelVersion("m", 1, "", tmp_path, "f", scorer=Scorer("score.py", "INTEGER"))
    cancel = threading.Event()
    engine = ScoringEngine(version)
    threading.Timer(0.5, cancel.set).start()
    assert list(engine.generate([Predict("a")], cancel)) == []
    engine.close()


def test_a_helper_beside_the_script_is_its_own(score: Score, tmp_path: Path) -> None:
    (tmp_path / "frames.py").write_text("def size(text):\n    return len(text)")
    assert score("import frames\ndef run(batch):\n    return [frames.size(t) for t in batch]", ["abc"]) == {"abc": 3}


def test_rows_that_nobody_waits_for_are_not_scored(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def run(batch):\n    return [text + str(len(batch)) for text in batch]")
    engine = ScoringEngine(ModelVersion("m", 1, "", tmp_path, "f", scorer=Scorer("score.py", "VARCHAR")))
    asked = [Predict(text, is_cancelled=lambda text=text: text == "b") for text in "abc"]
    found = {c.request.text: (str(c.output or ""), c.finish_reason) for c in engine.generate(asked)}
    engine.close()
    assert found == {"a": ('"a2"', "stop"), "b": ("", "cancelled"), "c": ('"c2"', "stop")}


@pytest.mark.parametrize(
    ("num_workers", "environment", "expected"),
    [(2, {}, "3"), (8, {}, "1"), (1, {}, None), (2, {"OMP_NUM_THREADS": "5"}, "5")],
)
def test_workers_share_the_cores_unless_the_user_says_otherwise(
    score: Score,
    monkeypatch: pytest.MonkeyPatch,
    num_workers: int,
    environment: dict[str, str],
    expected: str | None,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("sqlinfer.scoring.engine.num_cores", lambda: 6)
    script = "import os\ndef run(batch):\n    return [os.environ.get('OMP_NUM_THREADS', 'all')] * len(batch)"
    answers = score(
        script, ["a"], "VARCHAR", max_concurrency_per_instance=num_workers, environment=environment, timeout=60
    )
    assert answers == {"a": expected or "all"}


def test_of_the_models_open_the_least_recently_used_idle_one_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlinfer.scoring import open_engines as scoring

    (tmp_path / "score.py").write_text("def run(batch):\n    return [len(text) for text in batch]")
    monkeypatch.setattr(scoring, "_OPEN", {})
    monkeypatch.setattr(scoring, "_MOST_OPEN", 2)

    def open_scorer(name: str) -> ScoringEngine:
        return scoring.open_scorer(ModelVersion(name, 1, "", tmp_path, name, scorer=Scorer("score.py", "INTEGER")))

    first, second = open_scorer("first"), open_scorer("second")
    running = first.generate(iter([Predict("a", key=b"a")]))
    assert (first.warm().bytes > 0) and second.is_idle
    with first._turn:
        worker = first._idle.pop()  # as while it scores
    third = open_scorer("third")
    assert open_scorer("first") is first
    assert open_scorer("third") is third
    assert open_scorer("second") is not second
    first._idle.append(worker)
    assert [completion.output for completion in running] == ["1"]
    for engine in (first, *scoring._OPEN.values()):
        engine.close()
