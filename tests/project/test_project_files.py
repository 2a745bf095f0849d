"""A project's files: what is wrong in them is named with its file, and nothing is built then."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.project import load
from tests.project.conftest import REVIEWS, Write

MODELS = "models:\n  - name: a\n    "


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            {"models/a.sql": "SELECT 1 FROM {{ ref('revews') }}", "seeds/reviews.csv": REVIEWS},
            "models/a.sql: .*revews. Did you mean reviews",
        ),
        ({"models/a.sql": "FROM {{ ref('b') }}", "models/x/b.sql": "FROM {{ ref('A') }}"}, "models/.* -> models/.*"),
        ({"models/a.sql": "FROM {{ ref('a') }}"}, "models/a.sql -> models/a.sql"),
        ({"models/a.sql": "SELECT 1", "models/x/A.sql": "SELECT 2"}, "two nodes .*models/a.sql and models/x/A.sql"),
        ({"models/a.sql": "SELECT 1", "seeds/a.csv": "i\n1\n"}, "models/a.sql and seeds/a.csv"),
        ({"models/a b.sql": "SELECT 1"}, "models/a b.sql: 'a b' is not a valid table name"),
        ({"models/a.sql": "FROM {{ source('shop', 'ticket') }}"}, "models/a.sql: there is no source shop.ticket"),
        (
            {"models/a.sql": "SELECT\n{{ var('leest') }}", "sqlinfer.yml": "vars: {least: 1}"},
            "models/a.sql, line 2: .*leest. Did you mean least",
        ),
        ({"models/a.sql": "SELECT\n\n{{ nope }}"}, "models/a.sql, line 3: 'nope' is undefined"),
        ({"models/a.sql": "SELECT {% if %}"}, "models/a.sql, line 1"),
        (
            {"models/a.sql": "{{ m() }}", "macros/m.sql": "{% macro m() %}\n{{ 1 / 0 }}{% endmacro %}"},
            "macros/m.sql, line 2: division by zero",
        ),
        ({"models/a.sql": "SELECT {{ ''.__class__.__mro__ }}"}, "unsafe"),
        (
            {"models/a.sql": "{{ config(materialised='view') }} SELECT 1"},
            "models/a.sql: config has no materialised. Did you mean materialized",
        ),
        (
            {"models/a.sql": "{{ config(materialized='veiw') }} SELECT 1"},
            "must be one of table, view, incremental, ephemeral, not 'veiw'",
        ),
        ({"models/a.sql": "{{ config(on_error='ignore') }} SELECT 1"}, "on_error must be one of fail, null"),
        ({"models/a.sql": "{{ config(unique_key='id') }} SELECT 1"}, "unique_key is for materialized='incremental'"),
        (
            {"models/a.sql": "SELECT 1", "models/a.yml": "model: []"},
            "models/a.yml: there is no key model. Did you mean models",
        ),
        (
            {"models/a.sql": "SELECT 1", "models/a.yml": MODELS + "colums: []"},
            "models/a.yml: a: there is no key colums. Did you mean columns",
        ),
        ({"models/a.sql": "SELECT 1", "models/a.yml": "models: [{name: b}]"}, "describes b, but there is no such file"),
        (
            {"models/a.sql": "SELECT 1", "models/a.yml": MODELS + "columns: [{name: i, tests: [uniqe]}]"},
            "a.i: there is no test uniqe. Did you mean unique",
        ),
        (
            {"models/a.sql": "SELECT 1", "models/a.yml": MODELS + "columns: [{name: i, tests: [accepted_values]}]"},
            "needs a list of values",
        ),
        (
            {"models/a.sql": "SELECT 1", "models/a.yml": "models: [{name: a}]", "models/b.yml": "models: [{name: a}]"},
            "described twice: in models/a.yml and in models/b.yml",
        ),
        ({"models/a.sql": "SELECT 1", "sqlinfer.yml": "modle: x"}, "there is no key modle. Did you mean model"),
        *(
            ({"models/a.sql": "SELECT 1", "sqlinfer.yml": f"name: {name}"}, "part of file names, not")
            for name in ("x/../../evil", "../evil", "..", "''", '"a\\0"', "a\\\\b", "x" * 61)
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_file(root: Path, write: Write, files: dict[str, str], says: str) -> None:
    write(files)
    with pytest.raises(SqlinferError, match=says):
        load(root)


def test_nodes_stand_after_what_they_read(root: Path, write: Write) -> None:
    write(
        {
            "seeds/z.csv": REVIEWS,
            "models/a.sql": "FROM {{ ref('b') }} JOIN {{ ref('z') }} USING (id)",
            "models/deep/er/b.sql": "FROM {{ ref('Z') }}",
        }
    )
    assert list(load(root).nodes) == ["z", "b", "a"]


def test_a_template_gives_sql(root: Path, write: Write) -> None:
    write(
        {
            "sqlinfer.yml": "vars: {least: 5, who: x}",
            "macros/tidy.sql": "{% macro tidy(c) %}trim({{ lowered(c) }}){% endmacro %}",
            "macros/x/lowered.sql": "{% macro lowered(c) %}lower({{ c }}::{{ var('kind', 'VARCHAR') }}){% endmacro %}",
            "models/part.sql": "{{ config(materialized='ephemeral') }} SELECT 1 AS id; -- one",
            "models/m.sql": "{{ config(materialized='incremental') }}SELECT {{ tidy('id') }}, {{ var('least') }}, "
            "{{ var('who') }} FROM {{ ref('part') }} JOIN {{ source('s', 't') }} JOIN {{ source('f', 't') }}"
            "{% if is_incremental() %} WHERE id > (SELECT max(id) FROM {{ this }}){% endif %}",
            "models/sources.yml": "sources:\n"
            "  - {name: s, schema: raw, tables: [{name: t, identifier: T1}]}\n"
            "  - {name: f, config: {external_location: 'in/{name}.csv'}, tables: [{name: t}]}\n",
        }
    )
    project = load(root, {"who": "you"})
    first = project.sql(project.nodes["m"])
    assert first == (
        'SELECT trim(lower(id::VARCHAR)), 5, you FROM (\nSELECT 1 AS id\n) JOIN "raw"."T1" JOIN \'in/t.csv\''
    )
    assert project.sql(project.nodes["m"], is_incremental=True) == f'{first} WHERE id > (SELECT max(id) FROM "m")'
    assert project.nodes["m"].sources == ("s.t", "f.t")


def test_a_reference_of_incremental_runs_alone_counts_too(root: Path, write: Write) -> None:
    write(
        {
            "models/a.sql": "SELECT 1{% if is_incremental() %} FROM {{ ref('b') }}{% endif %}",
            "models/b.sql": "SELECT 1",
        }
    )
    assert load(root).nodes["a"].refs == ("b",)


def test_a_file_is_one_select(root: Path, write: Write) -> None:
    write({"models/a.sql": "SELECT 1; SELECT 2", "models/b.sql": "-- nothing"})
    project = load(root)
    for name, count in (("a", 2), ("b", 0)):
        with pytest.raises(SqlinferError, match=f"models/{name}.sql must be one SELECT, and has {count}"):
            project.sql(project.nodes[name])
