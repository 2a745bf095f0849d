"""Which nodes a selection means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.project import load, select
from sqlinfer.project.graph import above
from tests.project.conftest import REVIEWS, Invoke, Write

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
    ("selectors", "exclude", "chosen"),
    [
        ([], ["moods"], {"raw", "clean", "by_mood", "both"}),
        ([], ["moods+"], {"raw", "clean"}),
        (["+by_mood"], ["raw", "both"], {"clean", "moods", "by_mood", "unique_moods_id"}),
        (["tag:nightly"], ["tag:x"], {"clean", "both"}),
        (["moods"], ["moods"], set()),
    ],
)
def test_what_is_excluded_goes_with_the_tests_that_read_nothing_else(
    root: Path, write: Write, selectors: list[str], exclude: list[str], chosen: set[str]
) -> None:
    write(FILES)
    assert set(select(load(root).nodes, selectors, exclude)) == chosen


def test_modified_is_what_a_build_would_make_otherwise(invoke: Invoke, root: Path, write: Write) -> None:
    def modified(*words: str) -> set[str]:
        return {
            node["name"] for node in json.loads(invoke("ls", "--select", "state:modified", *words, "--json").stdout)
        }

    write({**FILES, "macros/m.sql": "{% macro least() %}1{% endmacro %}"})
    everything = {"raw", "clean", "moods", "by_mood", "unique_moods_id", "both"}
    assert modified() == everything, "what was never built"
    invoke("build", "--exclude", "both")
    assert modified() == {"both"}
    write({"models/staging/clean.sql": "{{ config(materialized='ephemeral') }} FROM {{ ref('raw') }} WHERE id > 0"})
    assert modified("--exclude", "both") == {"moods", "unique_moods_id"}, "its reader holds it"
    write({"seeds/raw.csv": REVIEWS + "4,new desk\n", "models/marts/by_mood.sql": "SELECT {{ least() }} AS id"})
    assert modified("--exclude", "both") == everything - {"clean", "both"}
    invoke("build", "--select", "state:modified", "--exclude", "both")
    assert modified() == {"both"}
    write({"macros/m.sql": "{% macro least() %}2{% endmacro %}"})
    assert modified("--exclude", "both") == {"by_mood"}


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
