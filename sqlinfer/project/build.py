"""Builds nodes: each after those that it reads, several at once if wished; what depends on a failed node is skipped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, chdir
from functools import partial
from graphlib import TopologicalSorter
from typing import Any

from sqlinfer.errors import Interrupted, SqlinferError
from sqlinfer.functions.call_options import Options
from sqlinfer.inference.counters import JobCounters
from sqlinfer.project.graph import above
from sqlinfer.project.materialise import EXISTING, Existing, is_incremental, seed_select, statements
from sqlinfer.project.node import Node
from sqlinfer.project.project import Project
from sqlinfer.project.state import LastBuild, Result
from sqlinfer.redact import redact
from sqlinfer.sql import Session
from sqlinfer.sql.error_translation import DatabaseError
from sqlinfer.units import count

_SHOWN_ROWS = 3
_SHOWN_WIDTH = 200
FAILING = '"__failing"'


class Build:
    """Builds nodes of a project on a session's database; each node is a job of its own.

    progress: called with the counts of a node's job.
    ended: called with a node and its result.
    """

    def __init__(
        self,
        project: Project,
        session: Session,
        last: LastBuild,
        progress: Callable[[JobCounters], None],
        ended: Callable[[Node, Result], None],
    ) -> None:
        self.project = project
        self.last = last
        self.full_refresh = last.full_refresh
        self.sessions: list[Session] = []
        """Those whose statements run in this moment."""
        self._session = session
        self._progress = progress
        self._ended = ended

    def run(self, keys: Iterable[str], threads: int, is_stop_wanted: Callable[[], bool]) -> list[Result]:
        """Build these nodes, none of them ephemeral; what came of each, in order of ending. Interrupted if a stop ended
        it.

        threads: how many nodes at once; their requests are computed in turn. is_stop_wanted: called before a node
        begins; whether no further one shall.
        """
        nodes, chosen = self.project.nodes, set(keys)
        waits = {key: keys & chosen for key, keys in above(nodes).items() if key in chosen}
        sorter = TopologicalSorter(waits)
        sorter.prepare()
        results: list[Result] = []
        held: set[str] = set()

        def end(key: str, result: Result) -> None:
            results.append(result)
            self.last.note(key, result, self.project.fingerprint(nodes[key]) if result.state == "done" else "")
            self._ended(nodes[key], result)
            if result.state != "done":
                held.add(key)
            sorter.done(key)

        running: dict[Future[Result], str] = {}
        is_stopped = False
        with chdir(self.project.root), ThreadPoolExecutor(threads) as pool:
            while sorter.is_active() and (running or not is_stopped):
                is_stopped = is_stopped or is_stop_wanted()
                for key in () if is_stopped else sorted(sorter.get_ready(), key=list(nodes).index):
                    if waits[key] & held:
                        end(key, self._skipped(nodes[key], waits[key] & held))
                    else:
                        running[pool.submit(self._run, nodes[key])] = key
                for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                    key = running.pop(future)
                    if isinstance(future.exception(), Interrupted):
                        is_stopped = True
                    else:
                        end(key, future.result())
        if is_stopped:
            raise Interrupted
        return results

    def _skipped(self, node: Node, held: set[str]) -> Result:
        first = next(key for key in self.project.nodes if key in held)
        was = "failed" if self.last.results[first].state == "failed" else "was skipped"
        why = f"depends on {self.project.nodes[first].name}, which {was}"
        return Result(node.name, "skipped", time.time(), error=why)

    def _run(self, node: Node) -> Result:
        started_s = time.perf_counter()
        with self._session.cursor() as session, session.evaluator.using(defaults=defaults(node)):
            session.execute("SET python_enable_replacements = false")
            self.sessions.append(session)
            try:
                rows = self._test(node, session) if node.node_type == "test" else self._make(node, session)
                error = _wrong_rows(session, rows) if node.node_type == "test" and rows else None
            except Interrupted:
                raise
            except (SqlinferError, DatabaseError, OSError) as raised:
                rows, error = None, redact(str(raised))
            finally:
                self.sessions.remove(session)
            job_id = session.evaluator.runner.last_job_id
        state: Any = "done" if error is None else "failed"
        return Result(node.name, state, time.time(), time.perf_counter() - started_s, rows, job_id, error)

    def _make(self, node: Node, session: Session) -> int | None:
        existing: Existing = dict(session.execute(EXISTING).fetchall())
        self._check_refs(node, existing)
        adds = is_incremental(node, existing, self.full_refresh)
        sql = seed_select(node) if node.node_type == "seed" else self.project.sql(node, adds)
        self._execute(node, session, sql, statements(node, sql, existing, adds))
        if node.materialized == "view":
            return None
        return _num_rows(session, node.relation)

    def _test(self, node: Node, session: Session) -> int:
        """How many rows are wrong."""
        self._check_refs(node, dict(session.execute(EXISTING).fetchall()))
        sql = self.project.sql(node)
        self._execute(node, session, sql, [f"CREATE OR REPLACE TEMP TABLE {FAILING} AS\n{sql}"])
        return _num_rows(session, FAILING)

    def _execute(self, node: Node, session: Session, sql: str, texts: Sequence[str]) -> None:
        """Run statements, as one job if the node has AI calls."""
        has_calls = node.materialized != "view" and session.statements.catalog.resolve(sql).is_ai
        recording = partial(session.job, show_progress=self._progress, retry_hint="sqlinfer retry")
        with ExitStack() as stack:
            if has_calls:
                job = stack.enter_context(recording(sql, {"node": node.name}))
                stack.enter_context(job.writing(node.name if node.node_type != "test" else None))
            for text in texts:  # closing the session undoes what an error leaves open
                session.execute(text)

    def _check_refs(self, node: Node, existing: Existing) -> None:
        """Refuse a node whose refs are not there."""
        refs, read = list(node.refs), set[str]()
        while refs:
            key = refs.pop()
            if self.project.nodes[key].materialized == "ephemeral":
                refs += self.project.nodes[key].refs
            elif key not in existing:
                read.add(key)
        if read:
            missing = [self.project.nodes[key].name for key in sorted(read)]
            also = missing[0] if node.node_type == "test" else f"+{node.name}"
            raise SqlinferError(f"{', '.join(missing)} not built yet. Build it too: sqlinfer build --select {also}")


def defaults(node: Node) -> Options:
    """The default options of a node's calls."""
    return Options(model=node.config.model, on_error=node.config.on_error)


def _num_rows(session: Session, table: str) -> int:
    ((num_rows,),) = session.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(num_rows)


def _wrong_rows(session: Session, num_rows: int) -> str:
    """The first rows that a test found."""
    shown = session.rows(f"FROM {FAILING} LIMIT {_SHOWN_ROWS}")
    rows = [] if shown is None else [", ".join(map(_assigned, shown.names, row)) for row in shown.texts()]
    listed = "".join(f"\n  {row if len(row) <= _SHOWN_WIDTH else row[:_SHOWN_WIDTH] + '...'}" for row in rows)
    return f"{count(num_rows, 'row is', 'rows are')} wrong{':' if listed else ''}{listed}"


def _assigned(name: str, value: str | None) -> str:
    return f"{name} = {'NULL' if value is None else value}"
