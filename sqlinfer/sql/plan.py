"""A statement as it will run: the passes over its text, in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.rewrite.annotate_result_types import annotate_result_types
from sqlinfer.sql.rewrite.bigquery_names import bigquery_names
from sqlinfer.sql.rewrite.cast_embeddings import cast_embeddings
from sqlinfer.sql.rewrite.check_constants import check_constants
from sqlinfer.sql.rewrite.guard_merge_values import guard_merge_values
from sqlinfer.sql.rewrite.lower_aggregates import lower_aggregates
from sqlinfer.sql.rewrite.order_predicates import order_predicates
from sqlinfer.sql.rewrite.probe_queries import QUERY_VERBS, probe_queries
from sqlinfer.sql.rewrite.quote_reserved_names import quote_reserved_names
from sqlinfer.sql.rewrite.references import References
from sqlinfer.sql.rewrite.split_statements import name_parameters
from sqlinfer.sql.rewrite.tokens import has_name, tokenize

Parameters = Sequence[Any] | Mapping[str, Any] | None
_QUERY = {*QUERY_VERBS, "WITH", "("}
_QUIET = {"EXPLAIN", "DESCRIBE", "DESC", "SHOW"}
_TRANSACTION = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}
_DEFINES = {"CREATE", "DROP", "ALTER", "PREPARE", "DEALLOCATE", "ATTACH", "DETACH", "USE", "ROLLBACK"}
_DEFINED = {"VIEW", "MACRO", "FUNCTION", *(_DEFINES - {"CREATE", "DROP", "ALTER"})}
_NEEDS_ALL = {"ORDER", "GROUP", "DISTINCT", "HAVING", "QUALIFY", "UNION", "INTERSECT", "EXCEPT"} | {
    *("COUNT", "SUM", "AVG", "MIN", "MAX", "STRING_AGG", "GROUP_CONCAT", "LIST", "ARRAY_AGG", "MEDIAN", "MODE"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """sql: the text that DuckDB gets. values: its parameters. is_ai: whether it leads to an AI function. queries: the
    SELECT statements to probe; none for a statement that runs directly. num_rounds: how often a probe can find more
    to ask. verb: its first word, in upper case. is_query: whether it gives rows and changes nothing. unguarded: the
    same statement without guards, in case they do not fit it."""

    sql: str
    values: Parameters
    is_ai: bool = False
    queries: tuple[str, ...] = ()
    num_rounds: int = 0
    verb: str = ""
    is_query: bool = False
    unguarded: Plan | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether it describes a query without running it, so that nothing may be asked."""
        return self.verb in _QUIET and "ANALYZE" not in [t.keyword for t in tokenize(self.sql)[:3]]

    @property
    def is_transactional(self) -> bool:
        """Whether it begins or ends a transaction."""
        return self.verb in _TRANSACTION

    @property
    def is_definition(self) -> bool:
        """Whether views, macros and the like may be others after it."""
        return self.verb in _DEFINES and bool(_DEFINED & {token.keyword for token in tokenize(self.sql)[:6]})


def plan(
    statement: str, parameters: Parameters, mentions: References, runtime: Runtime, model: str | None = None
) -> Plan:
    """Check constants, spell names, aggregates and result types as DuckDB can, find AI calls, guard AI conditions, take
    out the SELECT part. model: of calls that name none, if not the runtime's."""
    functions = runtime.functions
    sql = bigquery_names(statement, functions) if runtime.settings.over().ai_schema else statement
    check_constants(sql, functions)
    sql = annotate_result_types(lower_aggregates(quote_reserved_names(sql, functions), functions.list_names), functions)
    sql = cast_embeddings(sql, functions, lambda named: runtime.embedding_width(named or model))
    tokens = tokenize(sql)
    verb = tokens[0].keyword or tokens[0].text if tokens else ""
    mentioned = mentions.find(sql)
    if not mentioned.names:
        return Plan(sql, parameters, verb=verb)
    queries = tuple(probe_queries(sql))
    if not queries:
        return Plan(sql, parameters, is_ai=True, verb=verb)
    aggregate_names = {*functions.list_names, *functions.list_names.values()}
    is_query = verb in _QUERY and queries == (sql,)
    if mentioned.is_volatile or any(stops_early(query, mentioned.names, aggregate_names) for query in queries):
        return Plan(sql, parameters, is_ai=True, verb=verb, is_query=is_query)
    sql, named = name_parameters(sql, parameters)  # first: a guard says a condition twice
    values = named or None
    unguarded = Plan(sql, values, True, tuple(probe_queries(sql)), mentioned.num_calls, verb, is_query)
    guarded = guard_merge_values(order_predicates(sql, mentioned.names), mentioned.names)
    if guarded == sql:
        return unguarded
    return replace(unguarded, sql=guarded, queries=tuple(probe_queries(guarded)), unguarded=unguarded)


def stops_early(query: str, names: Collection[str], aggregates: Collection[str] = ()) -> bool:
    """Whether an AI condition stands before a LIMIT and nothing needs all rows: then DuckDB takes chunk after chunk
    and stops when it has enough, and a probe would ask the whole table."""
    tokens = tokenize(query)
    outer = [token.keyword for token in tokens if token.depth == 0]
    if "LIMIT" not in outer or "WHERE" not in outer or _NEEDS_ALL & set(outer):
        return False
    if has_name(tokens, aggregates):
        return False
    where, limit = (
        next(i for i, t in enumerate(tokens) if t.depth == 0 and t.keyword == k) for k in ("WHERE", "LIMIT")
    )
    return any(token.word in names for token in tokens[where:limit])
