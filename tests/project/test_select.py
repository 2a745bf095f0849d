"""Which nodes a selection means."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.project import load, select
from sqlinfer.project.graph import above
from tests.project.conftest import REVIEWS, Write

FILES = {
    "seeds/raw.csv": REVIEWS,
    "models/staging/clean.sql": "{{ config(tags='nightly') }} FROM {{ ref('raw') }}",
    "models/marts/moods.sql": "FROM {{ ref('clean') }}",
    "models/marts/by_mood.sql": "{{ config(tags=['nightly', 'x']) }} FROM {{ ref('moods') }}",
    "models/marts/schema.yml": "models: [{name: moods, columns: [{name: id, tests: [unique]}]}]",
    "tests/both.sql": "FROM {{ ref('clean') }} JOIN {{ ref('by_mood') }} USING (id)",
}


@pytest.mark.parametrize(
    ("selectors", "chosen"),
    [
        ([], {"raw", "clean", "moods", "by_mood", "unique_moods_id", "both"}),
        (["moods"], {"moods", "unique_moods_id"}),
        (["+moods"], {"raw", "clean", "moods", "unique_moods_id", "both"}),
        (["moods+"], {"moods", "by_mood", "unique_moods_id", "both"}),
        (["+Moods+"], {"raw", "clean", "moods", "by_mood", "unique_moods_id", "both"}),
        (["tag:x"], {"by_mood", "both"}),
        (["models/staging"], {"clean", "both"}),
        (["models/marts/moods.sql", "raw"], {"moods", "raw", "unique_moods_id"}),
        (["raw moods"], {"moods", "raw", "unique_moods_id"}),
        (["*mood*"], {"moods", "by_mood", "unique_moods_id", "both"}),
        (["both"], {"both"}),
    ],
)
def test_selectors_mean_nodes(root: Path, write: Write, selectors: list[str], chosen: set[str]) -> None:
    write(FILES)
    nodes = load(root).nodes
    found = select(nodes, selectors)
    assert set(found) == chosen
    assert found == [key for key in nodes if key in chosen]


@pytest.mark.parametrize(
    ("selector", "says"), [("mods", "Did you mean moods"), ("tag:nightli", "Did you mean tag:nightly")]
)
def test_a_selector_that_means_nothing_is_named(root: Path, write: Write, selector: str, says: str) -> None:
    write(FILES)
    with pytest.raises(SqlinferError, match=says):
        select(load(root).nodes, [selector])


def test_what_stands_on_a_tested_node_waits_for_the_test(root: Path, write: Write) -> None:
    write(FILES)
    waits = above(load(root).nodes)
    assert waits["by_mood"] == {"raw", "clean", "moods", "unique_moods_id"}
    assert waits["unique_moods_id"] == {"raw", "clean", "moods"}
    assert waits["both"] == {"raw", "clean", "moods", "by_mood"}
