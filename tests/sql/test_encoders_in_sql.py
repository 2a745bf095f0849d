"""Encoders in SQL: vectors as FLOAT lists, labels of classifiers, scores of cross-encoders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import torch
import transformers

import sqlinfer
from tools import random_models as shapes

LABELS = ("praise", "complaint")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `embedder`, `classifier` and `reranker` with tiny models."""
    root = tmp_path_factory.mktemp("encoders")
    shapes.build("bert", root / "embedder")
    for name, labels in (("classifier", LABELS), ("reranker", ("score",))):
        folder = Path(shutil.copytree(root / "embedder", root / name))
        (folder / "modules.json").unlink()
        config = transformers.AutoConfig.from_pretrained(
            folder, id2label=dict(enumerate(labels)), num_labels=len(labels)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            transformers.AutoModelForSequenceClassification.from_pretrained(folder, config=config).save_pretrained(
                folder
            )
    return root


@pytest.fixture
def session(home: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlinfer.sql.Session]:
    monkeypatch.chdir(models)
    with sqlinfer.connect() as opened:
        opened.execute("CREATE TABLE t AS SELECT * FROM (VALUES ('good'), ('bad'), (NULL), ('good')) AS t(x)")
        yield opened


def rows(session: sqlinfer.sql.Session, sql: str) -> list[tuple[object, ...]]:
    return session.execute(sql).fetchall()


def test_embeddings_are_lists_of_floats_and_null_stays_null(session: sqlinfer.sql.Session) -> None:
    found = rows(
        session,
        "SELECT x, typeof(v), len(v), array_inner_product(v, v) "
        "FROM (SELECT x, ai_embed(x, model := './embedder') v FROM t)",
    )
    assert [(x, kind, length) for x, kind, length, _ in found] == [
        ("good", "FLOAT[64]", 64),
        ("bad", "FLOAT[64]", 64),
        (None, "FLOAT[64]", None),
        ("good", "FLOAT[64]", 64),
    ]
    assert [norm for *_, norm in found if norm is not None] == pytest.approx([1, 1, 1])


def test_array_functions_take_embeddings_of_one_model(session: sqlinfer.sql.Session) -> None:
    a, b = "ai_embed(x, model := './embedder')", "v.ai_embed(model := './embedder')"
    values = f"array_distance({a}, {b}), array_cosine_similarity({a}, {b}), {a}[1], {b}[1:2]"
    sql = f"SELECT {values} FROM t, (SELECT 'good' v)"
    found = rows(session, sql)
    assert found[0][:2] == pytest.approx((0, 1), abs=1e-5)
    assert found[1][0] > 0 and found[2][:2] == (None, None)
    assert found[0][2] == found[0][3][0] and len(found[0][3]) == 2


def test_tables_have_vectors_and_views_follow_the_model(session: sqlinfer.sql.Session) -> None:
    session.execute("CREATE TABLE kept AS SELECT ai_embed(x, model := './embedder') AS v FROM t")
    session.execute("CREATE VIEW seen AS SELECT ai_embed(x, model := './embedder') AS v FROM t")
    kinds = "SELECT typeof(kept.v), typeof(seen.v) FROM kept, seen LIMIT 1"
    assert rows(session, kinds) == [("FLOAT[64]", "FLOAT[]")]
    chosen = "SELECT typeof(ai_embed(x, model := m)) FROM (VALUES ('a', './embedder')) w(x, m)"
    assert rows(session, chosen) == [("FLOAT[]",)], "a column says the model"
    compared = (
        "SELECT typeof(v), list_inner_product(v, v) IS NULL FROM (SELECT ai_embed(x, model := './embedder') v FROM t)"
    )
    assert rows(session, compared)[2] == ("FLOAT[]", True), "list functions fail on arrays that are NULL"
    with pytest.raises(sqlinfer.SqlinferError, match="nowhere"):
        rows(session, "SELECT ai_embed(x, model := './nowhere') FROM t")


def test_similarity_is_the_cosine_of_the_embeddings(session: sqlinfer.sql.Session) -> None:
    found = rows(
        session,
        "SELECT ai_similarity(x, 'good', model := './embedder'), "
        "list_cosine_similarity(ai_embed(x, model := './embedder'), ai_embed('good', model := './embedder')) FROM t",
    )
    assert found[2] == (None, None)
    assert [a for a, _ in found if a is not None] == pytest.approx([b for _, b in found if b is not None], abs=1e-6)
    assert found[0][0] == pytest.approx(1.0) and found[1][0] < 0.999


def test_the_default_model_for_embeddings_is_chosen_by_task(session: sqlinfer.sql.Session) -> None:
    session.execute("CREATE MODEL vectors FROM './embedder'")
    session.runtime.store.registry.set_default("embed", "vectors")
    assert rows(session, "SELECT ai_embed('a') = ai_embed('a', model := './embedder')") == [(True,)]


def test_a_classifier_answers_classify_and_predict(session: sqlinfer.sql.Session) -> None:
    found = rows(
        session,
        "SELECT ai_predict('./classifier', x), ai_classify(x, ['praise', 'complaint'], model := './classifier') FROM t",
    )
    assert found[2] == (None, None)
    assert {label for row in found for label in row} <= {*LABELS, None}
    assert all(predicted == classified for predicted, classified in found)


def test_a_label_that_the_classifier_does_not_know_is_refused(session: sqlinfer.sql.Session) -> None:
    with pytest.raises(sqlinfer.SqlinferError, match=r"does not know the label 'complain'.*Did you mean complaint"):
        rows(session, "SELECT ai_classify(x, ['praise', 'complain'], model := './classifier') FROM t")


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification"])
def test_a_classifier_says_of_each_label_whether_it_fits(
    problem: str, session: sqlinfer.sql.Session, models: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(models / "classifier", tmp_path / "classifier"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "problem_type": problem}))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokens = transformers.AutoTokenizer.from_pretrained(folder)("good", return_tensors="pt")
    logits = model(**tokens).logits[0]
    fits = logits.sigmoid() if problem.startswith("multi") else logits.softmax(dim=0)
    session.execute(f"CREATE OR REPLACE MODEL judge FROM '{folder}' WITH (dtype = 'float32')")
    said = "multilabel := true, return_confidence := true, threshold := 0.0, model := 'judge'"
    ((found,),) = rows(session, f"SELECT ai_classify('good', ['complaint', 'praise'], {said})")
    assert [each["label"] for each in found] == ["complaint", "praise"]
    assert [each["confidence"] for each in found] == pytest.approx(fits.tolist()[::-1], abs=1e-5)
    with pytest.raises(sqlinfer.SqlinferError, match=r"does not know the label 'complain'.*Did you mean complaint"):
        rows(session, "SELECT ai_classify('good', ['complain'], multilabel := true, model := 'judge')")


def test_a_cross_encoder_answers_score_and_filter(session: sqlinfer.sql.Session) -> None:
    found = rows(
        session,
        "SELECT ai_score(x, 'is it late', model := './reranker'), "
        "ai_filter(x, 'is it late', model := './reranker') FROM t",
    )
    assert found[2] == (None, None)
    assert all(0 <= score <= 1 and (score >= 0.5) == holds for score, holds in found if score is not None)


def test_a_plain_connection_embeds_too(home: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models)
    with duckdb.connect() as connection, sqlinfer.register(connection):
        assert connection.execute("SELECT len(ai_embed('a', model := './embedder'))").fetchone() == (64,)
