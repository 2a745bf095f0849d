"""Our own server as the server of a model behind an address: what is asked there is what is asked here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sqlinfer
from sqlinfer.sql import Session
from sqlinfer.store import Store
from tests.serve.http.conftest import EMBED, TINY


@pytest.fixture
def con(address: str, home: Path) -> Iterator[Session]:
    with Store(home) as store:
        store.registry.register("far", f"http://{address}/v1#{TINY}")
        store.registry.register("far-embed", f"http://{address}/v1#{EMBED}")
    with sqlinfer.connect() as session:
        session.execute("CREATE TABLE t AS SELECT 'The radio arrived broken, number ' || i AS x FROM range(20) r(i)")
        yield session


def test_texts_and_embeddings_are_those_of_the_same_model_here(con: Session) -> None:
    gen, embed = "ai_gen(x, max_tokens := 6, model := '{}')", "ai_embed(x, model := '{}')::FLOAT[]"
    for call, far, near in ((gen, "far", TINY), (embed, "far-embed", EMBED)):
        rows = con.sql(f"SELECT {call.format(far)}, {call.format(near)} FROM t").fetchall()
        assert len(rows) == 20
        for there, here in rows:
            assert there == (here if isinstance(here, str) else pytest.approx(here, abs=1e-3))


def test_labels_and_typed_answers_fit_their_types(con: Session) -> None:
    query = """SELECT ai_classify(x, ['praise', 'complaint'], model := 'far'),
        ai_extract(x, {'product': 'VARCHAR', 'number': 'INTEGER'}, model := 'far', max_tokens := 60) FROM t LIMIT 4"""
    for label, fields in con.sql(query).fetchall():
        assert label in ("praise", "complaint")
        assert set(fields) == {"product", "number"}
