"""One worker process of a model: started when it is needed, replaced when it ended or does not answer."""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from sqlinfer.scoring import worker
from sqlinfer.scoring.worker import FAIL, LOAD, RUN, SIGN, Channel, from_stream, to_stream
from sqlinfer.types import Cancel, Scorer

SCORING_OUTPUT = logging.getLogger("sqlinfer.scoring.output")
"""Where the lines go that scripts print: the log of a job listens here, and nobody else."""
SCORING_OUTPUT.setLevel(logging.INFO)
SCORING_OUTPUT.propagate = False
_MOST_OUTPUT = 1 << 20
"""Bytes of a batch's output that are kept."""
_END_S = 2.0
_LOAD_S = 60.0
"""A script has at least so long to start: the timeout is for a batch."""


class ScoringError(Exception):
    """Why a batch has no result."""


class Cancelled(Exception):
    """Nobody waits for the result any more."""


class WorkerProcess:
    """Scores a model's batches, one after another; not safe from several threads.

    path: the model's folder, or its file.
    scorer: its file in the folder, and what reads it.
    name: of the model, for the log.
    result: the Arrow type of a result; None before it is known.
    environment: further variables of the process.
    """

    def __init__(
        self,
        path: Path,
        scorer: Scorer,
        name: str,
        result: pa.DataType | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        schema = pa.schema([("output", pa.null() if result is None else result)]).serialize().to_pybytes()
        model = {
            "path": str(path),
            "file": scorer.file,
            "loader": scorer.loader,
            "schema": base64.b64encode(schema).decode(),
        }
        self._model = json.dumps(model).encode()
        self._name = name
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        # A file never makes a script wait that prints, as a pipe would.
        self._output: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - for all processes

    def score(self, rows: pa.Array, timeout_s: float | None, cancel: Cancel) -> pa.Array:
        """The results of rows. Raises ScoringError if there are none, Cancelled if cancel is set before there are."""
        self.load(timeout_s, cancel)
        return from_stream(self._ask(RUN, to_stream("input", rows), timeout_s, cancel))

    def signature(self, cancel: Cancel) -> dict[str, Any]:
        """What the model knows of its input and result, see loaders. Raises ScoringError if it cannot be loaded, or if
        a sample of an input does not give the result."""
        self.load(None, cancel)
        signature: dict[str, Any] = json.loads(self._ask(SIGN, b"", None, cancel))
        return signature

    @property
    def memory_bytes(self) -> int:
        """What the process holds of memory; 0 where that is not known."""
        try:
            assert self._process is not None
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (AssertionError, OSError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """Kill the process and all that it started."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._log_output()
        self._process = self._connection = None

    def load(self, timeout_s: float | None, cancel: Cancel) -> None:
        """Start the process, if none runs. Raises ScoringError if it cannot load the model, and Cancelled."""
        if self._process is None:
            self._start()
            try:
                self._ask(LOAD, self._model, None if timeout_s is None else max(timeout_s, _LOAD_S), cancel)
            except ScoringError:
                self.close()
                raise

    def _start(self) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, worker.__file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._output,
                start_new_session=True,
                env={**os.environ, **self._environment},
            )

    def _ask(self, kind: bytes, payload: bytes, timeout_s: float | None, cancel: Cancel) -> bytes:
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s

        def check() -> None:
            if cancel.is_set():
                raise Cancelled
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise ScoringError(f"the model gave no answer within the timeout of {timeout_s:g} s")

        assert self._connection is not None
        channel = Channel(self._connection, check)
        try:
            channel.write(kind, payload)
            answer, content = channel.read()
        except (Cancelled, ScoringError):
            self.close()
            raise
        except (EOFError, OSError):
            raise ScoringError(self._end()) from None
        self._log_output()
        if answer == FAIL:
            raise ScoringError(content.decode("utf-8", "replace"))
        return content

    def _end(self) -> str:
        """How the process ended, of which no more is left then."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        status = self._process.returncode
        self.close()
        if status is None or status >= 0:
            return f"the model ended its process (status {status})"
        name = signal.Signals(-status).name
        return f"the model's process was ended by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"

    def _log_output(self) -> None:
        """Log what the script printed since the last time."""
        self._output.seek(0)
        for line in self._output.read(_MOST_OUTPUT).decode("utf-8", "replace").splitlines():
            SCORING_OUTPUT.info("%s: %s", self._name, line)
        self._output.truncate(0)
