"""The steps of a piece of work: in the caller's thread, or beside it. Knows no torch."""

from __future__ import annotations

import threading
from collections.abc import Sequence as Series
from typing import Any, Protocol

TURN_S = 0.05


class Steppable(Protocol):
    """What has steps: a GenerationLoop, or an EncoderLoop."""

    fill: float

    @property
    def has_work(self) -> bool: ...

    @property
    def needs_rows(self) -> bool: ...

    def add(self, rows: Any) -> None: ...

    def step(self) -> Series[Any]: ...


class StepLoop:
    """Steps in the caller's thread, one at each take, within a with statement. turns: held during a step."""

    def __init__(self, work: Steppable, turns: threading.Lock) -> None:
        self._work = work
        self._turns = turns
        self._is_last = False

    def __enter__(self) -> StepLoop:
        return self

    def __exit__(self, *error: object) -> None: ...

    @property
    def fill(self) -> float:
        """How full the batch was at the last step, 0..1."""
        return self._work.fill

    @property
    def wants_rows(self) -> bool:
        """Whether the next window should be added, or that there is none."""
        return self._work.needs_rows and not self._is_last

    def add(self, rows: Series[Any]) -> None:
        """Add the next window, which has rows."""
        self._work.add(rows)

    def add_no_more(self) -> None:
        """Say that no window follows."""
        self._is_last = True

    def take(self, timeout_s: float) -> Series[Any] | None:  # noqa: ARG002 - a step ends
        """What has ended since the last call; None once all is over. Raises what a step raises."""
        if not self._work.has_work:
            return None
        with self._turns:
            return self._work.step()

    def stop(self) -> Series[Any]:
        """End after the step that runs. Returns what has ended and was not taken."""
        return []


class BackgroundStepLoop(StepLoop):
    """Steps on a thread of their own: beside them the caller tokenises the next window and keeps answers.

    For a device that computes by itself. Where the work needs rows it waits for them, so that what runs together does
    not depend on who is faster.
    """

    def __init__(self, work: Steppable, turns: threading.Lock) -> None:
        super().__init__(work, turns)
        self._changed = threading.Condition()
        self._rows: Series[Any] | None = None  # the next window
        self._ended: list[Any] = []
        self._is_closed = self._is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sqlinfer-steps", daemon=True)
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def wants_rows(self) -> bool:
        """Whether the next window should be added, or that there is none."""
        return self._rows is None and not self._is_last and not self._is_over

    def add(self, rows: Series[Any]) -> None:
        """Add the next window, which has rows."""
        with self._changed:
            self._rows = rows
            self._changed.notify_all()

    def add_no_more(self) -> None:
        """Say that no window follows."""
        with self._changed:
            self._is_last = True
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Series[Any] | None:
        """What has ended since the last call; None once all is over. Raises what a step raised.

        Waits for something, or until rows are wanted.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._is_over or self.wants_rows, timeout_s)
            ended, self._ended = self._ended, []
            if ended or not self._is_over:
                return ended
        error, self._error = self._error, None  # whose traceback holds what the step held
        if error is not None:
            raise error
        return None

    def stop(self) -> Series[Any]:
        """End after the step that runs. Returns what has ended and was not taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not threading.current_thread():  # where the garbage of another call is collected
            self._thread.join()
        ended, self._ended = self._ended, []
        return ended

    def _run(self) -> None:
        try:
            while self._get_ready() and self._get_turn():
                try:
                    ended = self._work.step()
                finally:
                    self._turns.release()
                if ended:
                    with self._changed:
                        self._ended += ended
                        self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - raised where the caller waits
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _get_turn(self) -> bool:
        """Wait for a turn, as long as nobody stops: who has it may be the one who waits for the end."""
        while not self._is_closed:
            if self._turns.acquire(timeout=TURN_S):
                return True
        return False

    def _get_ready(self) -> bool:
        """Wait for rows if there must be some; whether there is a step to make."""
        rows = None
        with self._changed:
            if self._work.needs_rows:
                self._changed.wait_for(lambda: self._rows is not None or self._is_last or self._is_closed)
                rows, self._rows = self._rows, None
                self._changed.notify_all()
            if self._is_closed:
                return False
        if rows is not None:
            self._work.add(rows)
        return self._work.has_work
