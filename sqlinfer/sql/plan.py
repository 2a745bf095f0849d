"""A statement as it will run: the passes over its text, in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlinfer.sql.guard import guard
from sqlinfer.sql.mentions import Mentions
from sqlinfer.sql.merge_guard import merge_guard
from sqlinfer.sql.select_part import select_part
from sqlinfer.sql.spelling import spelling
from sqlinfer.sql.statement import name_parameters
from sqlinfer.sql.tokens import tokenize

Parameters = Sequence[Any] | Mapping[str, Any] | None
_QUERY = {"SELECT", "FROM", "WITH", "VALUES", "TABLE", "PIVOT", "UNPIVOT", "("}
_QUIET = {"EXPLAIN", "DESCRIBE", "DESC", "SHOW"}
_NEEDS_ALL = {"ORDER", "GROUP", "DISTINCT", "HAVING", "QUALIFY", "UNION", "INTERSECT", "EXCEPT"}


@dataclass(frozen=True, slots=True)
class Plan:
    """sql: the text that DuckDB gets. values: its parameters. is_ai: whether it leads to an AI function. queries: the
    SELECT statements to probe; none for a statement that runs directly. num_rounds: how often a probe can find more
    to ask. verb: its first word, in upper case."""

    sql: str
    values: Parameters
    is_ai: bool = False
    queries: tuple[str, ...] = ()
    num_rounds: int = 0
    verb: str = ""
    is_query: bool = False

    @property
    def is_quiet(self) -> bool:
        """Whether it describes a query without running it, so that nothing may be asked."""
        return self.verb in _QUIET and "ANALYZE" not in [t.keyword for t in tokenize(self.sql)[:3]]


def plan(statement: str, parameters: Parameters, mentions: Mentions, functions: Collection[str]) -> Plan:
    """Quote reserved names, find AI calls, guard AI conditions, take out the SELECT part."""
    sql = spelling(statement, functions)
    tokens = tokenize(sql)
    verb = tokens[0].keyword or tokens[0].text if tokens else ""
    mentioned = mentions.find(sql)
    if not mentioned.names:
        return Plan(sql, parameters, verb=verb)
    sql, values = name_parameters(sql, parameters)  # first: a guard says a condition twice
    sql = merge_guard(guard(sql, mentioned.names), mentioned.names)
    queries = tuple(select_part(sql))
    is_query = verb in _QUERY and queries != ()
    if mentioned.is_volatile or (is_query and stops_early(sql, mentioned.names)):
        queries = ()
    return Plan(sql, values or None, True, queries, mentioned.num_calls, verb, is_query)


def stops_early(sql: str, names: Collection[str]) -> bool:
    """Whether an AI condition stands before a LIMIT and nothing needs all rows: then DuckDB takes chunk after chunk
    and stops when it has enough, and a probe would ask the whole table."""
    tokens = tokenize(sql)
    outer = [token.keyword for token in tokens if token.depth == 0]
    if "LIMIT" not in outer or "WHERE" not in outer or _NEEDS_ALL & set(outer):
        return False
    where, limit = (
        next(i for i, t in enumerate(tokens) if t.depth == 0 and t.keyword == k) for k in ("WHERE", "LIMIT")
    )
    return any(token.word in names for token in tokens[where:limit])
