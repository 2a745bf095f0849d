"""What a statement writes to: a table that it makes, or a file. Changes nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from sqlinfer.sql.parsing.parameters import SqlValues, parameter_value
from sqlinfer.sql.parsing.parsed_calls import constant
from sqlinfer.sql.parsing.tokens import Token, closing, first_keyword, keywords, text_of, tokenize

Execute = Callable[..., duckdb.DuckDBPyConnection]


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """The file of COPY .. TO.

    name: of the file, as written.
    end: the index of the token after it.
    """

    name: str
    end: int

    @property
    def path(self) -> Path:
        """Where DuckDB writes it."""
        return Path(self.name).expanduser()

    @property
    def is_there(self) -> bool:
        """Whether a file would be written over; a device that was redirected to a file is none."""
        return self.path.is_file() and not self.is_device

    @property
    def is_plain(self) -> bool:
        """Whether it is a file here, or can be one: no pipe, no device and no address."""
        return "://" not in self.name and not self.is_device and (self.path.is_file() or not self.path.exists())

    @property
    def is_device(self) -> bool:
        return Path(os.path.abspath(self.path)).parts[1:2] in (("dev",), ("proc",))  # noqa: PTH100 - links stay


def created_table(sql: str) -> str | None:
    """The table that CREATE TABLE .. AS makes and may not be there yet, as written; None for other statements.

    >>> created_table('CREATE TEMP TABLE main."t 1" AS FROM r'), created_table("CREATE OR REPLACE TABLE t AS FROM r")
    ('main."t 1"', None)
    """
    return _created(sql, keeps=False)


def kept_table(sql: str) -> str | None:
    """The table that CREATE TABLE IF NOT EXISTS .. AS leaves alone if it is there; None for other statements.

    >>> kept_table("CREATE TABLE IF NOT EXISTS t AS FROM r"), kept_table("CREATE TABLE t AS FROM r")
    ('t', None)
    """
    return _created(sql, keeps=True)


def written_target(sql: str, parameters: SqlValues = None) -> str | None:
    """The table or file whose rows a statement writes, as written; None for other statements.

    >>> [written_target(sql) for sql in (
    ...     "CREATE OR REPLACE TABLE a AS FROM r", "WITH q AS (FROM r) INSERT OR IGNORE INTO main.b FROM q",
    ...     "UPDATE c SET x = 1", "MERGE INTO d USING r ON true WHEN MATCHED THEN DELETE", "COPY r TO 'e.csv'",
    ...     "CREATE VIEW f AS FROM r", "TABLE g")]
    ['a', 'main.b', 'c', 'd', 'e.csv', None, None]
    """
    file = copied_file(sql, parameters)
    if file is not None:
        return file.name
    tokens = tokenize(sql)
    index = first_keyword(tokens, "TABLE", "INTO", "UPDATE", "SELECT", "FROM", "VIEW", "COPY")
    if index is None or tokens[index].keyword not in ("TABLE", "INTO", "UPDATE") or tokens[0].keyword == "TABLE":
        return None
    name = tokens[index + 1 :]
    return _table_name(sql, name[3:] if keywords(name[:3]) == ["IF", "NOT", "EXISTS"] else name)


def _created(sql: str, *, keeps: bool) -> str | None:
    tokens = tokenize(sql)
    head = keywords(tokens[:5])
    if head[:1] != ["CREATE"] or "TABLE" not in head or "REPLACE" in head:
        return None
    name = tokens[head.index("TABLE") + 1 :]
    if keywords(name[:3]) == ["IF", "NOT", "EXISTS"]:
        name = name[3:] if keeps else ()
    elif keeps:
        return None
    return _table_name(sql, name)


def _table_name(sql: str, name: Sequence[Token]) -> str | None:
    """The name that some tokens begin with, with its schema and database."""
    if not name:
        return None
    end = 0
    while end + 2 < len(name) and name[end + 1].text == ".":
        end += 2
    return sql[name[0].start : name[end].end]


def copied_file(sql: str, parameters: SqlValues = None) -> CopiedFile | None:
    """The file that COPY .. TO writes; None for other statements and for a name that is known only as it runs.

    >>> [copied_file(f"COPY t TO {to}", ["c.csv"]).name for to in ("'a.csv'", "$$b.csv$$", "?", "('d' || 'e')", "f")]
    ['a.csv', 'b.csv', 'c.csv', 'de', 'f']
    """
    tokens = tokenize(sql)
    span = copy_target(tokens)
    if span is None:
        return None
    start, end = span
    target = tokens[start]
    if target.word:
        name = target.text[1:-1].replace('""', '"') if target.text.startswith('"') else target.text
        return CopiedFile(name, end)
    try:
        name = constant(text_of(sql, tokens[start:end]))
    except ValueError:
        name = parameter_value(tokens, start, parameters)
    return None if name is None else CopiedFile(str(name), end)


def copy_target(tokens: Sequence[Token]) -> tuple[int, int] | None:
    """The tokens, from the first to behind the last, that say where COPY .. TO writes; None for other statements."""
    to = first_keyword(tokens, "TO")
    if to is None or to + 1 >= len(tokens) or tokens[0].keyword != "COPY":
        return None
    if tokens[1].keyword == "FROM" or tokens[to + 1].keyword in ("STDOUT", "STDIN"):
        return None
    return to + 1, (closing(tokens, to + 1) if tokens[to + 1].text == "(" else to + 1) + 1


def table_exists(execute: Execute, table: str) -> bool:
    """Whether a table or view has this name; asked of the catalogue, as an error would abort a transaction."""
    parts = [(quoted or plain).replace('""', '"') for quoted, plain in re.findall(r'"((?:[^"]|"")*)"|(\w+)', table)]
    *qualifiers, name = parts
    relations = (
        "SELECT table_name AS name, schema_name, database_name FROM duckdb_tables() UNION ALL "
        "SELECT view_name, schema_name, database_name FROM duckdb_views()"
    )
    rows = execute(
        f"SELECT lower(schema_name), lower(database_name), schema_name = current_schema() AND "
        f"database_name = current_database() FROM ({relations}) WHERE lower(name) = lower(?)",
        [name],
    ).fetchall()
    if not qualifiers:
        return any(is_current for _, _, is_current in rows)
    return any({part.lower() for part in qualifiers} <= {schema, database} for schema, database, _ in rows)
