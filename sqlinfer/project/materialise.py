"""The statements that turn a node's SELECT into its table or view, so that a table is never there in half."""

from __future__ import annotations

from collections.abc import Mapping

from sqlinfer.project.node import Node
from sqlinfer.sql_text import quote_identifier, quote_literal

Existing = Mapping[str, str]
"""Tables and views that are there: TABLE or VIEW, by name in lower case."""

EXISTING = """
SELECT lower(table_name), CASE WHEN table_type = 'VIEW' THEN 'VIEW' ELSE 'TABLE' END FROM information_schema.tables
WHERE table_catalog = current_database() AND table_schema = current_schema()
"""
"""What gives Existing."""


def is_incremental(node: Node, existing: Existing, full_refresh: bool) -> bool:
    """Whether a model adds to the table that is there."""
    return node.materialized == "incremental" and existing.get(node.key) == "TABLE" and not full_refresh


def statements(node: Node, sql: str, existing: Existing, adds: bool) -> list[str]:
    """The statements for a model or seed. The first computes all answers, before anything is
    replaced; a transaction puts its rows in place. adds: whether rows come to the table that is there."""
    there, made = existing.get(node.key), "VIEW" if node.materialized == "view" else "TABLE"
    if made == "VIEW":
        create = f"CREATE OR REPLACE VIEW {node.relation} AS\n{sql}"
        return ["BEGIN", f"DROP TABLE {node.relation}", create, "COMMIT"] if there == "TABLE" else [create]
    staged = f"temp.{quote_identifier(node.name + '__new')}"
    stage = f"CREATE OR REPLACE TEMP TABLE {quote_identifier(node.name + '__new')} AS\n{sql}"
    if adds:
        put = [*_delete(node, staged), f"INSERT INTO {node.relation} BY NAME FROM {staged}"]
    elif there == "VIEW":
        put = [f"DROP VIEW {node.relation}", f"CREATE TABLE {node.relation} AS FROM {staged}"]
    else:
        return [f"CREATE OR REPLACE TABLE {node.relation} AS\n{sql}"]
    return [stage, "BEGIN", *put, "COMMIT", f"DROP TABLE {staged}"]


def seed_select(node: Node) -> str:
    """The SELECT of a seed."""
    reader = "read_parquet" if node.path.suffix == ".parquet" else "read_csv"
    return f"FROM {reader}({quote_literal(node.path.as_posix())})"


def _delete(node: Node, staged: str) -> list[str]:
    """Takes out the rows that new ones replace."""
    if not node.config.unique_key:
        return []
    same = " AND ".join(f"old.{quote_identifier(key)} = new.{quote_identifier(key)}" for key in node.config.unique_key)
    return [f"DELETE FROM {node.relation} AS old USING {staged} AS new WHERE {same}"]
