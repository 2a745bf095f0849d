"""Images in SQL: BLOBs to labels, vectors and answers; a faulty one costs its row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import sqlinfer
from sqlinfer.errors import ModelUnusable, RequestsFailed
from sqlinfer.sql import Session
from tests.engine.image_cases import png
from tools import random_image_models

NUM_IMAGES = 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `vit`, `clip` and `llava` with tiny models, and `images` with PNG files."""
    root = tmp_path_factory.mktemp("images")
    for shape in ("vit", "clip", "llava"):
        random_image_models.build(shape, root / shape)
    (root / "images").mkdir()
    for i in range(NUM_IMAGES):
        (root / "images" / f"{i}.png").write_bytes(png(i))
    return root


@pytest.fixture
def con(home: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.chdir(models)
    with sqlinfer.connect() as session:
        for name in ("vit", "clip", "llava"):
            session.execute(f"CREATE MODEL {name} FROM './{name}' WITH (dtype = 'float32')")
        session.execute("CREATE TABLE pictures AS SELECT filename, content FROM read_blob('images/*.png')")
        yield session


def test_a_classifier_gives_the_label_of_each_image_and_asks_equal_ones_once(con: Session) -> None:
    con.execute("CREATE TABLE twice AS FROM pictures UNION ALL FROM pictures")
    rows = con.sql("SELECT content, ai_predict('vit', content) FROM twice").fetchall()
    assert len(dict(rows)) == NUM_IMAGES
    assert set(rows) == set(dict(rows).items())
    assert {label for _, label in rows} <= {"cat", "dog", "owl"}
    assert con.sql("SELECT sum(requests) FROM sqlinfer_jobs()").fetchall() == [(NUM_IMAGES,)]


def test_images_and_texts_are_compared_in_one_space(con: Session) -> None:
    sql = """SELECT typeof(image), array_cosine_similarity(image, text) BETWEEN -1 AND 1,
        round(array_inner_product(image, image), 4) FROM (
            SELECT ai_embed(content, model := 'clip') AS image, ai_embed('an owl', model := 'clip') AS text
            FROM pictures)"""
    assert con.sql(sql).fetchall() == [("FLOAT[32]", True, 1.0)] * NUM_IMAGES


def test_a_model_of_images_and_texts_is_asked_about_a_blob_or_a_list_of_them(con: Session) -> None:
    sql = """SELECT ai_query('llava', 'What is it?', files => content),
        ai_query('llava', 'What is it?', files => [content]),
        ai_query('llava', 'What is it?', files => [content, content]),
        ai_query('llava', 'What is it?', files => NULL), ai_query('llava', 'What is it?')
        FROM pictures"""
    answers = con.sql(sql).fetchall()
    assert all(one == listed != both for one, listed, both, *_ in answers)
    assert len({one for one, *_ in answers}) == NUM_IMAGES
    assert len({answer for row in answers for answer in row[3:]}) == 1


def test_a_broken_image_is_its_row_s_error_and_never_the_others(con: Session) -> None:
    con.execute("INSERT INTO pictures VALUES ('broken', 'no image'::BLOB), ('empty', ''::BLOB), ('none', NULL)")
    for call in ("ai_predict('vit', content)", "ai_query('llava', 'What is it?', files => content)"):
        with pytest.raises(RequestsFailed, match=r"BLOB \((8|0) bytes\)|What is it"):
            con.sql(f"SELECT {call} FROM pictures").fetchall()
        filled = con.sql(f"SELECT filename FROM pictures WHERE {call[:-1]}, on_error := 'null') IS NOT NULL").fetchall()
        assert {name for (name,) in filled} - {"none"} == {f"images/{i}.png" for i in range(NUM_IMAGES)}


def test_a_file_s_name_in_place_of_its_content_is_refused(con: Session) -> None:
    with pytest.raises(sqlinfer.SqlinferError, match=r"not the VARCHAR\[\] '\[images/.*files => content"):
        con.sql("SELECT ai_query('llava', 'What is it?', files => [filename]) FROM pictures").fetchall()


def test_a_model_of_the_wrong_media_is_refused_once(con: Session) -> None:
    with pytest.raises(ModelUnusable, match="vit/1 classifies images, and this is a text"):
        con.sql("SELECT ai_predict('vit', filename) FROM pictures").fetchall()
    with pytest.raises(ModelUnusable, match=r"embeds texts, and this needs .* reads images. Models that do: clip"):
        con.sql("SELECT ai_embed(content, model := 'sqlinfer/tiny-embed') FROM pictures").fetchall()


def test_plain_connections_take_images_too(con: Session, models: Path) -> None:
    expected = con.sql("SELECT ai_predict('vit', content) FROM pictures ORDER BY filename").fetchall()
    with duckdb.connect() as plain, sqlinfer.register(plain):
        sql = "SELECT ai_predict('vit', content) FROM read_blob('images/*.png') ORDER BY filename"
        assert plain.sql(sql).fetchall() == expected
        sql = "SELECT ai_query('llava', 'What is it?', files => [content, NULL]) FROM read_blob('images/0.png')"
        assert len(plain.sql(sql).fetchall()) == 1


def test_an_image_is_kept_nowhere_but_in_its_answer_s_key(con: Session, home: Path) -> None:
    content = png()
    con.sql("SELECT ai_predict('vit', content), ai_query('llava', 'It?', files => content) FROM pictures").fetchall()
    kept = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    assert b"It?" not in kept or content not in kept
    assert content not in kept
    assert json.dumps(content.decode("latin1")) not in kept.decode("latin1")
