"""What the passes over a statement's text may know besides the text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlinfer.functions import Functions
from sqlinfer.sql.parsing.parameters import SqlValues
from sqlinfer.sql.parsing.references import ai_references
from sqlinfer.types import ModelVersion


@dataclass(frozen=True, slots=True)
class RewriteContext:
    """What is known of one statement and of the session that runs it; the same for all passes.

    functions: the AI functions.
    ai_names: of all functions, views and macros that lead to an AI function, in lower case.
    ai_columns: the columns of views and macros of the statement that hold what AI functions give.
    views: the views with AI functions that it reads, by name, each behind those that it reads itself.
    embedding_width: the n of FLOAT[n] of a model, by the name that a call says, None for the default one; None if it
        cannot be told.
    find_model: the version behind a model's name; None if there is none.
    scores_directly: whether rows go to a version as they are, and its results are not kept.
    ai_schema: whether functions may have the names that BigQuery gives them, in a schema `ai`.
    parameters: the values of the statement's parameters.
    output_action: of the job's settings.
    table_exists: whether a table or view has a name, which is as it stands in SQL.
    value_of: the value that a SQL expression without parameters has now.
    first_site: the number of the statement's first AI call.
    """

    functions: Functions
    ai_names: frozenset[str] = frozenset()
    ai_columns: frozenset[str] = frozenset()
    views: tuple[tuple[str, str], ...] = ()
    embedding_width: Callable[[str | None], int | None] = lambda _: None
    find_model: Callable[[str], ModelVersion | None] = lambda _: None
    scores_directly: Callable[[ModelVersion], bool] = lambda _: False
    ai_schema: bool = False
    parameters: SqlValues = None
    output_action: str | None = None
    table_exists: Callable[[str], bool] = lambda _: False
    value_of: Callable[[str], str | None] = lambda _: None
    first_site: int = 1

    def ai_references(self, sql: str) -> frozenset[int]:
        """The offsets of the tokens of a text that lead to an AI function."""
        return ai_references(sql, self.ai_names, self.ai_columns)
