"""The passes over the text of a statement, in the order in which they run.

A pass is a file with one function of its name, `(sql, context) -> sql`. To add one: its file, its place in a tuple
here, and its pairs of SQL in tests/sql/rewrite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlinfer.sql.rewrite.annotate_result_types import annotate_result_types
from sqlinfer.sql.rewrite.atomic_copy import atomic_copy
from sqlinfer.sql.rewrite.bigquery_names import bigquery_names
from sqlinfer.sql.rewrite.cast_embeddings import cast_embeddings
from sqlinfer.sql.rewrite.check_constants import check_constants
from sqlinfer.sql.rewrite.context import RewriteContext
from sqlinfer.sql.rewrite.gather_values import gather_values
from sqlinfer.sql.rewrite.guard_merge_values import guard_merge_values
from sqlinfer.sql.rewrite.inline_views import inline_views
from sqlinfer.sql.rewrite.limit_before_select import limit_before_select
from sqlinfer.sql.rewrite.lower_aggregates import lower_aggregates
from sqlinfer.sql.rewrite.name_copied_file import name_copied_file
from sqlinfer.sql.rewrite.name_parameters import name_parameters
from sqlinfer.sql.rewrite.number_call_sites import number_call_sites
from sqlinfer.sql.rewrite.order_distinct_lists import order_distinct_lists
from sqlinfer.sql.rewrite.order_predicates import order_predicates
from sqlinfer.sql.rewrite.output_action import output_action
from sqlinfer.sql.rewrite.quote_reserved_names import quote_reserved_names
from sqlinfer.sql.rewrite.wait_for_answers import wait_for_answers

Pass = Callable[[str, RewriteContext], str]

PASSES: tuple[Pass, ...] = (
    bigquery_names,
    check_constants,
    quote_reserved_names,
    lower_aggregates,
    order_distinct_lists,
    annotate_result_types,
    cast_embeddings,
)
"""For every statement: what only sqlinfer understands becomes what DuckDB does."""

OUTPUT_PASSES: tuple[Pass, ...] = (name_copied_file, output_action, atomic_copy)
"""For statements with AI calls that are about to run and may write."""

PARAMETER_PASSES: tuple[Pass, ...] = (name_parameters,)
"""For statements whose parts run by themselves; before guards, which repeat conditions."""

GUARD_PASSES: tuple[Pass, ...] = (gather_values, order_predicates, guard_merge_values)
"""For statements with AI calls whose form DuckDB may refuse; then they run without."""

LIMIT_PASSES: tuple[Pass, ...] = (limit_before_select,)
"""After those, for the same statements, with the same way out."""

PROBE_PASSES: tuple[Pass, ...] = (inline_views, wait_for_answers)
"""For queries with AI calls as a probe runs them, whose form DuckDB may refuse too."""

EXPLAIN_PASSES: tuple[Pass, ...] = (number_call_sites,)
"""For statements that are counted call by call, before all others."""


def apply_passes(passes: Sequence[Pass], sql: str, context: RewriteContext) -> str:
    """Run passes over a text, one on the result of the other."""
    for rewrite in passes:
        sql = rewrite(sql, context)
    return sql
