"""UPDATE, DELETE and MERGE as SELECTs of what they compute.

The SELECTs are for probes only, so that sqlglot may write them anew; the statement that runs is the user's.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp


def dml_to_select(sql: str) -> list[str]:
    """What an UPDATE, DELETE or MERGE computes, selected from the rows that it touches; [] if it is not understood.

    >>> dml_to_select("DELETE FROM t WHERE f(x)")
    ['SELECT 1 FROM t WHERE f(x)']
    """
    try:
        statement = sqlglot.parse_one(sql, read="duckdb")
    except sqlglot.errors.SqlglotError:
        return []
    if isinstance(statement, exp.Update):
        queries = [_updated(statement)]
    elif isinstance(statement, exp.Delete):
        queries = [_deleted(statement)]
    elif isinstance(statement, exp.Merge):
        queries = _merged(statement)
    else:
        return []
    return [query.sql(dialect="duckdb", normalize_functions=False) for query in queries]


def _updated(statement: exp.Update) -> exp.Select:
    query = exp.select(*_values(statement.expressions)).from_(statement.this)
    return _with_clauses(query, statement, statement.args.get("from_"))


def _deleted(statement: exp.Delete) -> exp.Select:
    query = exp.select("1").from_(statement.this)
    for source in statement.args.get("using") or []:
        query = query.join(source, join_type="cross")
    return _with_clauses(query, statement, None)


def _with_clauses(query: exp.Select, statement: exp.Expr, source: exp.Expr | None) -> exp.Select:
    for table in [source.this, *(source.args.get("joins") or [])] if source is not None else []:
        query = query.join(table, join_type="cross") if not isinstance(table, exp.Join) else query.join(table)
    where = statement.args.get("where")
    if where is not None:
        query = query.where(where.this)
    with_ = statement.args.get("with_")
    if with_ is not None:
        query.set("with_", with_)
    return query


def _merged(statement: exp.Merge) -> list[exp.Select]:
    """One query for each WHEN: the rows on its side, its condition and the values that it computes.

    The condition is selected and no filter: DuckDB would push it below the join and compute rows that do not match.
    """
    target, source = statement.this, statement.args["using"]
    on = statement.args.get("on")
    columns = statement.args.get("using_cond") or None
    queries = []
    for when in statement.args["whens"].expressions:
        condition = when.args.get("condition")
        own = [condition.copy()] if isinstance(condition, exp.Expr) else []
        from_source = not when.args.get("matched") and not when.args.get("source")
        first, second = (source, target) if from_source else (target, source)
        query = exp.select(*own, *_then_values(when.args.get("then"))).from_(first.copy())
        join_type = "inner" if when.args.get("matched") else "anti"
        on_copy = on.copy() if isinstance(on, exp.Expr) else None
        query = query.join(second.copy(), join_type=join_type, on=on_copy, using=columns)
        with_ = statement.args.get("with_")
        if with_ is not None:
            query.set("with_", with_.copy())
        queries.append(query)
    return queries


def _then_values(then: exp.Expr | None) -> list[exp.Expr]:
    if isinstance(then, exp.Update):
        return _values(then.expressions)
    if isinstance(then, exp.Insert) and isinstance(then.expression, exp.Tuple):
        return [value.copy() for value in then.expression.expressions]
    return [exp.Literal.number(1)]


def _values(assignments: list[exp.Expr]) -> list[exp.Expr]:
    values = [a.expression.copy() for a in assignments if isinstance(a, exp.EQ)]
    return values or [exp.Literal.number(1)]
