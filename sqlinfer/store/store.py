"""The store: registry, answers and jobs over one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from sqlinfer.config.folders import state_folder
from sqlinfer.store.answer_cache import AnswerCache
from sqlinfer.store.batches import Batches
from sqlinfer.store.comparisons import Comparisons
from sqlinfer.store.database import TIMEOUT_S, Database
from sqlinfer.store.jobs import Jobs
from sqlinfer.store.leases import Lease
from sqlinfer.store.registry import Builtins, Registry

FILE_NAME = "state.db"


class Store:
    """Opens the store in a folder (default: state_folder()), making it if it is not there.

    keep_answers=False: answers live in a private temporary database and go with the process, and jobs keep
    no excerpts of rows; registry and jobs are kept as ever. builtins, defaults, allow_download: see Registry.
    timeout_s: how long to wait for another process that writes.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        keep_answers: bool = True,
        builtins: Builtins | None = None,
        defaults: Mapping[str, str] | None = None,
        allow_download: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.folder = folder or state_folder()
        self.path = self.folder / FILE_NAME
        self._database = Database(self.path, timeout_s)
        self._answers_database = self._database if keep_answers else Database(None)
        self.registry = Registry(self._database, builtins, defaults, allow_download)
        self.answers = AnswerCache(self._answers_database)
        self.jobs = Jobs(self._database, keep_texts=keep_answers)
        self.batches = Batches(self._database)
        self.comparisons = Comparisons(self._database)

    def lease(self) -> Lease:
        """A new, empty lease on requests; other processes see it if they share the answer cache."""
        return Lease(self._answers_database)

    def log_file(self, job_id: int) -> Path:
        """Where the log of a job is, if it has one."""
        return self.folder / "logs" / f"{job_id}.log"

    def close(self) -> None:
        """Commit what waits and close the file; a closed store answers nothing."""
        try:
            self.answers.close()
        finally:
            self._answers_database.close()
            self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
