"""A statement as it will run: the passes over its text, in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlinfer.sql.guard import guard
from sqlinfer.sql.mentions import Mentions
from sqlinfer.sql.select_part import select_part
from sqlinfer.sql.spelling import spelling
from sqlinfer.sql.statement import name_parameters
from sqlinfer.sql.tokens import tokenize

Parameters = Sequence[Any] | Mapping[str, Any] | None
_QUIET = {"EXPLAIN", "DESCRIBE", "DESC", "SHOW"}


@dataclass(frozen=True, slots=True)
class Plan:
    """sql: the text that DuckDB gets. values: its parameters. is_ai: whether it leads to an AI function. queries: the
    SELECT statements to probe; none for a statement that runs directly. verb: its first word, in upper case."""

    sql: str
    values: Parameters
    is_ai: bool
    queries: tuple[str, ...]
    verb: str

    @property
    def is_query(self) -> bool:
        """Whether it gives rows and changes nothing."""
        return self.queries == (self.sql,) and self.verb != "COPY"

    @property
    def is_quiet(self) -> bool:
        """Whether it describes a query without running it, so that nothing may be asked."""
        return self.verb in _QUIET and "ANALYZE" not in [t.keyword for t in tokenize(self.sql)[:3]]


def plan(statement: str, parameters: Parameters, mentions: Mentions, functions: Collection[str]) -> Plan:
    """Quote reserved names, find AI calls, guard AI conditions, take out the SELECT part."""
    sql = spelling(statement, functions)
    tokens = tokenize(sql)
    verb = tokens[0].keyword if tokens else ""
    names = mentions.names(tokens)
    if not names:
        return Plan(sql, parameters, False, (), verb)
    sql, values = name_parameters(guard(sql, names), parameters)
    return Plan(sql, values or None, True, tuple(select_part(sql)), verb)
