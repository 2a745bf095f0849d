"""What a build would compute, node by node, before anything is computed or built."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import chdir
from dataclasses import dataclass

from sqlinfer.project.build import FAILING, defaults
from sqlinfer.project.materialise import EXISTING, Existing, is_incremental, seed_select, statements
from sqlinfer.project.node import Node
from sqlinfer.project.project import Project
from sqlinfer.sql import Session
from sqlinfer.sql.explain.explain import CallEstimate, Explanation
from sqlinfer.sql.explain.explain import explain as explained


@dataclass(frozen=True, slots=True)
class Cost:
    """The estimated cost of building one node.

    name: of the node.
    requests: its distinct requests.
    known: those with a cached answer.
    to_ask: those without; two nodes may share some.
    prompt_tokens: of the requests to run.
    est_seconds: the time that they take.
    """

    name: str
    requests: int
    known: int
    to_ask: int
    prompt_tokens: int
    est_seconds: float


def explain(
    project: Project, session: Session, keys: Iterable[str], full_refresh: bool = False
) -> tuple[Explanation, list[Cost]]:
    """Explain these nodes on a session's database: all together, and each that has AI calls."""
    existing: Existing = dict(session.execute(EXISTING).fetchall())
    nodes = [project.nodes[key] for key in keys]
    scripts = {node.name: ";\n".join(_statements(project, node, existing, full_refresh)) for node in nodes}
    with chdir(project.root):
        explanation = explained(session, scripts, {node.name: defaults(node) for node in nodes})
    costs = []
    for node in nodes:
        calls = [call for call in explanation.calls if node_of(call) == node.name]
        if calls:
            costs.append(_cost(node.name, calls))
    return explanation, costs


def node_of(call: CallEstimate) -> str:
    """The name of the node that a call stands in; "" for one in a view or macro that was there before."""
    return call.place.rpartition(":")[0]


def _statements(project: Project, node: Node, existing: Existing, full_refresh: bool) -> list[str]:
    adds = is_incremental(node, existing, full_refresh)
    sql = seed_select(node) if node.node_type == "seed" else project.sql(node, adds)
    if node.node_type == "test":
        return [f"CREATE OR REPLACE TEMP TABLE {FAILING} AS\n{sql}"]
    return statements(node, sql, existing, adds)


def _cost(name: str, calls: list[CallEstimate]) -> Cost:
    return Cost(
        name=name,
        requests=sum(call.requests for call in calls),
        known=sum(call.known for call in calls),
        to_ask=sum(call.to_ask for call in calls),
        prompt_tokens=sum(call.prompt_tokens for call in calls),
        est_seconds=round(sum(call.est_seconds for call in calls), 3),
    )
