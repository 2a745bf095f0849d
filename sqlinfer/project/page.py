"""A project as one page of HTML: its graph, and of each node columns, tests, SQL and last job. Needs nothing from
elsewhere when it is read: no script, no font, no address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from sqlinfer.errors import SqlinferError
from sqlinfer.project.answers_of_models import charts, lineage
from sqlinfer.project.layout import HEIGHT, WIDTH, layout
from sqlinfer.project.node import Column, Node
from sqlinfer.project.project import Project
from sqlinfer.project.state import LastBuild, Result
from sqlinfer.sql import Session
from sqlinfer.store.jobs import JobRecord, RowError
from sqlinfer.units import count, duration

_TEMPLATE = Path(__file__).with_name("page.html.j2")
_SHOWN_ERRORS = 5
_COLUMNS = """
SELECT lower(table_name), column_name, data_type FROM duckdb_columns()
WHERE database_name = current_database() AND schema_name = current_schema() ORDER BY table_name, column_index
"""


@dataclass(frozen=True, slots=True)
class PageEntry:
    """A node or source as the page shows it.

    key, name, path, description, tags: as of the node.
    type: its node_type, or "source".
    reads, read_by: keys of its neighbours in the graph.
    columns: name, type, description and tests of each.
    tests: those on the whole, each with its last result.
    sql: as rendered.
    result: of the last build.
    job: of that build.
    errors: the first of that job.
    row_names: columns of the rows.
    rows: the first of its table, each value as DuckDB writes it.
    """

    key: str
    name: str
    type: str
    path: str
    description: str
    tags: Sequence[str]
    reads: Sequence[str]
    read_by: Sequence[str]
    columns: Sequence[tuple[str, str, str, Sequence[str]]]
    tests: Sequence[tuple[Node, Result | None]]
    sql: str
    result: Result | None = None
    job: JobRecord | None = None
    errors: Sequence[RowError] = ()
    row_names: Sequence[str] = ()
    rows: Sequence[Sequence[str | None]] = ()


def page(project: Project, last: LastBuild, session: Session | None, num_rows: int = 3) -> str:
    """The page. session: on the project's database, for columns and rows; None if it is not there yet. num_rows: of
    each table."""
    types: dict[str, list[tuple[str, str]]] = {}
    for table, column, sql_type in session.execute(_COLUMNS).fetchall() if session else ():
        types.setdefault(table, []).append((column, sql_type))
    reads = _reads(project)
    read_by = {key: [other for other, above in reads.items() if key in above] for key in reads}
    shown: dict[str, PageEntry] = {}
    for key in reads:
        if key in project.nodes:
            node = _node(project, last, session, project.nodes[key], (reads[key], read_by[key], types))
            shown[key] = _with_rows(node, project.nodes[key], session, num_rows) if key in types else node
        else:
            source = project.sources[key.removeprefix(_SOURCE)]
            columns = [(column.name, "", column.description, ()) for column in source.columns]
            about = (source.description, (), (), read_by[key], columns, (), source.relation)
            shown[key] = PageEntry(key, source.label, "source", "", *about)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": "{:,}".format, "count": count, "duration": duration, "when": _when}
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    jobs = [each.job for each in shown.values() if each.job]
    return template.render(
        project=project,
        shown=shown,
        drawing=layout(reads),
        box_width=WIDTH,
        box_height=HEIGHT,
        last_ended=max((result.ended for key, result in last.results.items() if key in project.nodes), default=None),
        totals=_totals(project, last),
        tokens=sum(job.prompt_tokens + job.completion_tokens for job in jobs),
        requests=sum(job.requests for job in jobs),
        lineage=lineage(session.runtime.store) if session else (),
        comparisons=charts(session.runtime.store) if session else (),
    )


_SOURCE = "source:"


def _reads(project: Project) -> dict[str, list[str]]:
    """What each source, seed and model reads, sources first."""
    reads: dict[str, list[str]] = {_SOURCE + label: [] for label in project.sources}
    for key, node in project.nodes.items():
        if node.node_type != "test":
            reads[key] = [*(_SOURCE + label for label in node.sources), *node.refs]
    return reads


def _node(
    project: Project,
    last: LastBuild,
    session: Session | None,
    node: Node,
    about: tuple[Sequence[str], Sequence[str], Mapping[str, Sequence[tuple[str, str]]]],
) -> PageEntry:
    reads, read_by, types = about
    result = last.results.get(node.key)
    job = _job(session, result)
    tests = [each for each in project.nodes.values() if each.node_type == "test" and node.key in each.refs]
    return PageEntry(
        key=node.key,
        name=node.name,
        type=node.materialized,
        path=node.path.as_posix(),
        description=node.description,
        tags=node.config.tags,
        reads=reads,
        read_by=read_by,
        columns=_columns(node.columns, types.get(node.key, ())),
        tests=[(test, last.results.get(test.key)) for test in tests],
        sql="" if node.node_type == "seed" else project.sql(node),
        result=result,
        job=job,
        errors=session.runtime.store.jobs.errors(job.job_id)[:_SHOWN_ERRORS] if session and job else (),
    )


def _columns(
    described: Sequence[Column], there: Sequence[tuple[str, str]]
) -> Sequence[tuple[str, str, str, Sequence[str]]]:
    """The columns of the table that is there, then those that are only described."""
    described_columns = {column.name.lower(): column for column in described}
    rows = []
    for name, sql_type in [
        *there,
        *((c.name, "") for c in described if c.name.lower() not in {n.lower() for n, _ in there}),
    ]:
        column = described_columns.get(name.lower(), Column(name))
        rows.append((name, sql_type, column.description, [check for check, _ in column.checks]))
    return rows


def _job(session: Session | None, result: Result | None) -> JobRecord | None:
    if session is None or result is None or result.job_id is None:
        return None
    try:
        return session.runtime.store.jobs.show(result.job_id)
    except SqlinferError:  # the record of jobs was cleared
        return None


def _totals(project: Project, last: LastBuild) -> list[tuple[str, Sequence[str]]]:
    """The states of nodes and of tests in the last build; of one that was not built, ""."""
    totals: list[tuple[str, Sequence[str]]] = []
    for noun, is_test in (("node", False), ("test", True)):
        keys = [key for key, node in project.nodes.items() if (node.node_type == "test") == is_test]
        if keys:
            totals.append((noun, [last.results[key].state if key in last.results else "" for key in keys]))
    return totals


def _with_rows(shown: PageEntry, node: Node, session: Session | None, num_rows: int) -> PageEntry:
    """With the first rows of its table. A view is left out: to read it may run a model."""
    if session is None or node.materialized == "view" or not num_rows:
        return shown
    rows = session.rows(f"FROM {node.relation} LIMIT {num_rows}")
    return shown if rows is None else replace(shown, row_names=rows.names, rows=list(rows.texts()))


def _when(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
