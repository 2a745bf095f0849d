"""The magics %sqlinfer and %%sqlinfer of IPython and Jupyter: SQL in a cell, with dataframes in and out by name.

Knows IPython's shell by what it is given, and imports none of it.
"""

from __future__ import annotations

import getopt
import shlex
import sys
import warnings
from typing import Any

from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.inference.progress import on_terminal, wipe
from sqlinfer.sql import Session, connect
from sqlinfer.sql.error_translation import DatabaseError
from sqlinfer.sql.replacement_scan import call_as

_USAGE = "Write %%sqlinfer [-c SESSION] [-o NAME], and SQL in the lines below it"


class Magic:
    """The SQL of one notebook. shell: IPython's; its variables are dataframes for SQL.

    Cells run on a session in memory that the first of them opens, or on the one that -c named last.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._session: Session | None = None
        warnings.filterwarnings("ignore", message="IProgress not found")  # bars of transformers, which nobody sees

    def run(self, line: str, cell: str | None = None) -> Any:
        """Run SQL and give the rows of its last query as a dataframe, with progress while answers are computed.

        %sqlinfer SELECT ai_sentiment('so good')

        %%sqlinfer -c con -o frame
        SELECT ..           con: a variable with a sqlinfer.connect(..), also for the cells that follow;
                            frame: the variable that gets the rows
        """
        output = "" if cell is None else self._options(line)
        sql = line if cell is None else cell
        if self._session is None:
            self._session = self._open()
        try:
            result = call_as(self._shell.user_ns, self._session.sql, sql)
            rows = None if result is None or result.columns == ["Success"] else result.df()
        except (SqlinferError, DatabaseError) as error:
            shown = f"{type(error).__name__}: {error}"
            error._render_traceback_ = lambda: [shown]  # type: ignore[union-attr]  # IPython's way to show no stack
            raise
        finally:
            if self._is_terminal:
                wipe(sys.stderr)
        if not output:
            return rows
        self._shell.user_ns[output] = rows
        return None

    def _open(self) -> Session:
        return connect(show_progress=on_terminal(sys.stderr) if self._is_terminal else None)

    def _options(self, line: str) -> str:
        """Take the session that is named; the variable for the rows, or nothing."""
        try:
            options, rest = getopt.getopt(shlex.split(line), "c:o:")
        except (getopt.GetoptError, ValueError) as error:
            raise SqlinferError(f"%%sqlinfer {line}: {error}. {_USAGE}") from None
        if rest:
            raise SqlinferError(f"%%sqlinfer {line}: {' '.join(rest)!r} is no option. {_USAGE}")
        values = dict(options)
        if "-c" in values:
            self._session = self._named(values["-c"])
        return values.get("-o", "")

    def _named(self, name: str) -> Session:
        session = self._shell.user_ns.get(name)
        if not isinstance(session, Session):
            there = [key for key, value in self._shell.user_ns.items() if isinstance(value, Session)]
            raise SqlinferError(
                f"%%sqlinfer -c {name}: {name} is no session. {nearest(name, there)} Make one: "
                f"{name} = sqlinfer.connect('file.duckdb')"
            )
        return session

    @property
    def _is_terminal(self) -> bool:
        """Whether lines can be written over. In a notebook sessions show progress by themselves."""
        return not hasattr(self._shell, "kernel") and sys.stderr.isatty()
