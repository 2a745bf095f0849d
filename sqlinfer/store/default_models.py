"""The default model of each task: the user's choice, else the built-in one. Knows no files."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from sqlinfer.errors import ModelNotFound
from sqlinfer.store.database import Database
from sqlinfer.store.names import parse_reference


class DefaultModels:
    """Names of models by task, "" for any. builtin: those where the user chose none."""

    def __init__(self, database: Database, builtin: Mapping[str, str]) -> None:
        self._database = database
        self._builtin = builtin

    def of(self, task: str = "") -> str:
        """The name of the default model of a task."""
        name = self.chosen(task) or self._builtin.get(task) or self._builtin.get("")
        if name is not None:
            return name
        raise ModelNotFound(
            f"No model was given and there is no default{f' for {task}' if task else ''}. "
            "Give one: model := 'NAME', or set a default: sqlinfer models default NAME"
        )

    def chosen(self, task: str = "") -> str | None:
        """The user's choice of a model for a task, None if there is none."""
        with self._database.reading() as connection:
            chosen = dict(connection.execute("SELECT task, name FROM default_models").fetchall())
        return chosen.get(task) or chosen.get("")

    def set(self, task: str, name: str) -> None:
        """Choose the model for a task, "" for all tasks without a choice of their own."""
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO default_models VALUES (?, ?)", (task, name))

    def forget(self, connection: sqlite3.Connection, name: str) -> None:
        """Undo the choices of a model that is removed."""
        for task, chosen in connection.execute("SELECT task, name FROM default_models").fetchall():
            if parse_reference(chosen).name == name:
                connection.execute("DELETE FROM default_models WHERE task = ?", (task,))
