"""A statement, classified: what class it is of, and the text that will run after the passes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from sqlinfer.sql.commands.model_statements import is_model_statement
from sqlinfer.sql.commands.set_statements import is_set_statement
from sqlinfer.sql.parsing.column_names import keep_column_names
from sqlinfer.sql.parsing.dependencies import Catalog, Dependencies
from sqlinfer.sql.parsing.parameters import SqlValues
from sqlinfer.sql.parsing.parsed_calls import ParsedCall, parsed_calls
from sqlinfer.sql.parsing.probe_queries import QUERY_VERBS, probe_queries
from sqlinfer.sql.parsing.references import references
from sqlinfer.sql.parsing.tokens import Token, first_keyword, has_any, has_name, keywords, tokenize
from sqlinfer.sql.parsing.written_targets import created_table, kept_table, written_target
from sqlinfer.sql.rewrite.context import RewriteContext
from sqlinfer.sql.rewrite.limit_before_select import sort_key_queries
from sqlinfer.sql.rewrite.name_parameters import named_values
from sqlinfer.sql.rewrite.passes import (
    GUARD_PASSES,
    LIMIT_PASSES,
    OUTPUT_PASSES,
    PARAMETER_PASSES,
    PASSES,
    PROBE_PASSES,
    apply_passes,
)
from sqlinfer.sql.rewrite.quote_reserved_names import quote_reserved_names

_QUERY = {*QUERY_VERBS, "WITH", "("}
_QUIET = {"EXPLAIN", "DESCRIBE", "DESC", "SHOW"}
_TRANSACTION = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}
_DEFINES = {"CREATE", "DROP", "ALTER", "PREPARE", "DEALLOCATE", "ATTACH", "DETACH", "USE", "ROLLBACK"}
_DEFINED = {"VIEW", "MACRO", "FUNCTION", *(_DEFINES - {"CREATE", "DROP", "ALTER"})}
_NEEDS_ALL = {"ORDER", "GROUP", "DISTINCT", "HAVING", "QUALIFY", "UNION", "INTERSECT", "EXCEPT"} | {
    *("COUNT", "SUM", "AVG", "MIN", "MAX", "STRING_AGG", "GROUP_CONCAT", "LIST", "ARRAY_AGG", "MEDIAN", "MODE"),
}


@dataclass(frozen=True, slots=True)
class ModelCommand:
    """CREATE MODEL and its like: the registry in SQL."""

    text: str
    """As written."""


@dataclass(frozen=True, slots=True)
class SetCommand:
    """SET sqlinfer_..: the settings of jobs in SQL."""

    text: str
    """As written."""


@dataclass(frozen=True, slots=True)
class DuckDBStatement:
    """A statement that DuckDB gets.

    text: as written.
    sql: the text that DuckDB gets.
    values: of its parameters.
    """

    text: str
    sql: str
    values: SqlValues

    @property
    def verb(self) -> str:
        """Its first word, in upper case."""
        return _verb(self.text)

    @property
    def is_definition(self) -> bool:
        """Whether views, macros and the like may be others after it."""
        return self.verb in _DEFINES and bool(_DEFINED & {*keywords(tokenize(self.text)[:6])})


class Direct(DuckDBStatement):
    """It leads to no AI function."""

    @property
    def is_transactional(self) -> bool:
        """Whether it begins or ends a transaction."""
        return self.verb in _TRANSACTION


class Quiet(DuckDBStatement):
    """It has AI functions and runs no query, so no answer is computed: it describes one, or would make a table that
    is there."""


@dataclass(frozen=True, slots=True)
class AiStatement(DuckDBStatement):
    """It leads to AI functions, and runs in phases.

    queries: the SELECT statements to probe; none if the requests are known only as it runs.
    early: what is probed before them, stage by stage: the keys of a LIMIT, the form in which branches wait for answers.
    stopping: the SELECT statements that a LIMIT may stop early, which are not probed.
    unprobed: why its requests are known only as it runs; "" if it needs no reason.
    num_rounds: how often a probe can find more requests.
    unguarded: the same statement without guards, for the case that they do not fit it; None if it has none.
    is_scored: whether all its calls are of models whose results are not kept: it runs without phases.
    over_pairs: the functions that it computes for pairs of rows of two tables; None until it is bound.
    target: the table or file whose rows it writes; None if it writes none.
    replaces: whether nothing is left of what was in it.
    """

    queries: tuple[str, ...] = ()
    early: tuple[tuple[str, ...], ...] = ()
    stopping: tuple[str, ...] = ()
    unprobed: str = ""
    num_rounds: int = 0
    unguarded: AiStatement | None = None
    is_scored: bool = False
    over_pairs: frozenset[str] | None = None
    target: str | None = None
    replaces: bool = False

    def without_guards(self) -> Self:
        """The statement as it is without guards."""
        other = self.unguarded
        if other is None:
            return self
        return replace(self, sql=other.sql, queries=other.queries, early=other.early, unguarded=None)

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """What probes run: each stage until it finds no request."""
        return (*self.early, self.queries or self.stopping)


class Query(AiStatement):
    """It gives rows and changes nothing."""


class Write(AiStatement):
    """Any other: INSERT, CREATE TABLE .. AS, COPY, UPDATE, MERGE, SET VARIABLE, EXECUTE."""

    @property
    def created_table(self) -> str | None:
        """The table that it makes and that may not be there yet."""
        return created_table(self.sql)


Statement = ModelCommand | SetCommand | Direct | Quiet | Query | Write


def plan(text: str, context: RewriteContext, catalog: Catalog, runs: bool = False) -> Statement:
    """Classify a statement and rewrite it. runs: whether it will run and write, so that the output passes apply."""
    if is_model_statement(text):
        return ModelCommand(text)
    if is_set_statement(text):
        return SetCommand(text)
    quoted = quote_reserved_names(text, context)
    sql = keep_column_names(quoted, apply_passes(PASSES, text, context))
    dependencies = catalog.resolve(sql)
    if not dependencies.is_ai:
        return Direct(text, sql, context.parameters)
    is_described = _verb(sql) in _QUIET and "ANALYZE" not in keywords(tokenize(sql)[:3])
    kept = kept_table(sql)
    if is_described or (kept is not None and context.table_exists(kept)):
        return Quiet(text, sql, context.parameters)
    if runs:
        sql = apply_passes(OUTPUT_PASSES, sql, context)
    names, columns, views = dependencies.names, dependencies.columns, dependencies.views
    context = replace(context, ai_names=names, ai_columns=columns, views=views)
    target = written_target(dependencies.prepared or text, context.parameters)
    replaces = _verb(sql) in ("CREATE", "COPY")
    planned = replace(_plan_phases(text, sql, context, dependencies), target=target, replaces=replaces)
    return replace(planned.without_guards(), is_scored=True) if only_scores(dependencies, context) else planned


def _plan_phases(text: str, sql: str, context: RewriteContext, dependencies: Dependencies) -> Query | Write:
    """A statement with AI functions, with what its phases need."""
    find_queries = partial(probe_queries, prepared=dependencies.prepared)
    queries, num_calls = find_queries(sql), dependencies.num_calls
    is_query = _verb(sql) in _QUERY and queries == (sql,)
    make = Query if is_query else Write
    if any(stops_early(query, context) for query in queries):
        return make(text, sql, context.parameters, stopping=queries, num_rounds=num_calls)
    if not queries or dependencies.is_volatile:
        return make(text, sql, context.parameters, unprobed=_why_unprobed(sql, dependencies))
    plain, sql = sql, keep_column_names(sql, apply_passes(PARAMETER_PASSES, sql, context))
    values = named_values(context.parameters)
    waiting = partial(_waiting, context=context, num_calls=num_calls)
    queries = find_queries(sql)
    unguarded = make(text, sql, values, queries, waiting(queries), num_rounds=num_calls)
    ordered = apply_passes(GUARD_PASSES, sql, context)
    limited = apply_passes(LIMIT_PASSES, ordered, context)
    guarded = keep_column_names(plain, limited)
    if guarded == sql:
        return unguarded
    queries = (guarded,) if is_query else find_queries(guarded)
    early = waiting(queries)
    if limited != ordered:
        keys = tuple(key for query in find_queries(ordered) for key in sort_key_queries(query, context))
        early = (*waiting(keys), keys, *early)
    return replace(unguarded, sql=guarded, queries=queries, early=early, unguarded=unguarded)


def _waiting(queries: tuple[str, ...], context: RewriteContext, num_calls: int) -> tuple[tuple[str, ...], ...]:
    """The stage of queries in which branches wait for answers; none if they have no such branches."""
    if num_calls < 2:
        return ()
    waiting = tuple(apply_passes(PROBE_PASSES, query, context) for query in queries)
    return () if waiting == queries else (waiting,)


def _why_unprobed(sql: str, dependencies: Dependencies) -> str:
    """Why the answers of a statement are not computed before it runs; "" for one that needs none as it runs."""
    if dependencies.is_volatile:
        return "it may read other rows or values each time that it runs (random(), now(), a sample)"
    return "" if _verb(sql) in _DEFINES else "it has no SELECT that may run before it"


def only_scores(dependencies: Dependencies, context: RewriteContext) -> bool:
    """Whether all AI calls of a statement, at any depth, name a model whose results are not kept."""
    calls = [call for text in dependencies.texts for call in parsed_calls(text, context.functions)]
    num_names = sum(_num_names(tokenize(text), context.functions) for text in dependencies.texts)
    return len(calls) == num_names and all(_is_scored(call, context) for call in calls)


def _num_names(tokens: Sequence[Token], functions: Collection[str]) -> int:
    return sum(tokens[index].word in functions for index in references(tokens))


def _is_scored(call: ParsedCall, context: RewriteContext) -> bool:
    try:
        name = call.constant("model") if call.function.scored else None
    except ValueError:
        return False
    version = None if name is None else context.find_model(name)
    return version is not None and context.scores_directly(version)


def stops_early(query: str, context: RewriteContext) -> bool:
    """Whether an AI condition stands before a LIMIT and nothing needs all rows: then DuckDB takes chunk after chunk
    and stops when it has enough, and a probe would record the whole table."""
    tokens = tokenize(query)
    where, limit = first_keyword(tokens, "WHERE"), first_keyword(tokens, "LIMIT")
    if where is None or limit is None or _NEEDS_ALL & {token.keyword for token in tokens if token.depth == 0}:
        return False
    list_names = context.functions.list_names
    return not has_name(tokens, {*list_names, *list_names.values()}) and has_any(
        tokens[where:limit], context.ai_references(query)
    )


def first_limit(query: str) -> int:
    """The number of rows after the outermost LIMIT; 0 if it is no number."""
    tokens = tokenize(query)
    limit = first_keyword(tokens, "LIMIT")
    number = "" if limit is None or limit + 1 == len(tokens) else tokens[limit + 1].text
    return int(number) if number.isdecimal() else 0


def _verb(sql: str) -> str:
    tokens = tokenize(sql)
    return (tokens[0].keyword or tokens[0].text) if tokens else ""
