"""Drives a loop of forward passes: in the caller's thread, or on a thread beside it. Knows no torch."""

from __future__ import annotations

import threading
from collections.abc import Sequence as Series
from typing import Any, Protocol

LOCK_POLL_S = 0.05


class Steppable(Protocol):
    """A loop whose unit of work is a step, one forward pass: GenerationLoop or EncoderLoop."""

    utilization: float
    """How much of the batch was in use at the last step, 0..1."""

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        ...

    @property
    def wants_requests(self) -> bool:
        """Whether nothing is waiting, so that the next window should be added before the next step."""
        ...

    def add(self, prepared: Any) -> None:
        """Queue prepared requests."""
        ...

    def step(self) -> Series[Any]:
        """Run one forward pass. Returns what finished."""
        ...


class StepLoop:
    """Runs the steps in the caller's thread, one at each poll, within a with statement.

    steppable: what has the steps. step_lock: held during each of them.
    """

    def __init__(self, steppable: Steppable, step_lock: threading.Lock) -> None:
        self._steppable = steppable
        self._step_lock = step_lock
        self._is_input_closed = False

    def __enter__(self) -> StepLoop:
        return self

    def __exit__(self, *error: object) -> None: ...

    @property
    def utilization(self) -> float:
        """How much of the batch was in use at the last step, 0..1."""
        return self._steppable.utilization

    @property
    def wants_requests(self) -> bool:
        """Whether the next window should be added, or the input closed."""
        return self._steppable.wants_requests and not self._is_input_closed

    def add(self, prepared: Series[Any]) -> None:
        """Add the next window of prepared requests, which is not empty."""
        self._steppable.add(prepared)

    def close_input(self) -> None:
        """Say that no window follows."""
        self._is_input_closed = True

    def poll(self, timeout_s: float) -> Series[Any] | None:  # noqa: ARG002 - a step ends
        """What finished since the last call; None once all is done. Raises what a step raises."""
        if not self._steppable.has_work:
            return None
        with self._step_lock:
            return self._steppable.step()

    def stop(self) -> Series[Any]:
        """End after the step that runs. Returns what finished and was not polled."""
        return []


class BackgroundStepLoop(StepLoop):
    """Runs the steps on a thread of its own: meanwhile the caller tokenises the next window and keeps answers.

    For a device that computes by itself. Where the loop wants requests it waits for them, so that what runs together
    does not depend on which thread is faster.
    """

    def __init__(self, steppable: Steppable, step_lock: threading.Lock) -> None:
        super().__init__(steppable, step_lock)
        self._changed = threading.Condition()
        self._window: Series[Any] | None = None
        self._finished: list[Any] = []
        self._is_stopped = self._is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sqlinfer-steps", daemon=True)
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def wants_requests(self) -> bool:
        """Whether the next window should be added, or the input closed."""
        return self._window is None and not self._is_input_closed and not self._is_over

    def add(self, prepared: Series[Any]) -> None:
        """Add the next window of prepared requests, which is not empty."""
        with self._changed:
            self._window = prepared
            self._changed.notify_all()

    def close_input(self) -> None:
        """Say that no window follows."""
        with self._changed:
            self._is_input_closed = True
            self._changed.notify_all()

    def poll(self, timeout_s: float) -> Series[Any] | None:
        """What finished since the last call; None once all is done. Raises what a step raised.

        Waits for something to finish, or until requests are wanted.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._finished or self._is_over or self.wants_requests, timeout_s)
            finished, self._finished = self._finished, []
            if finished or not self._is_over:
                return finished
        error, self._error = self._error, None  # whose traceback holds what the step held
        if error is not None:
            raise error
        return None

    def stop(self) -> Series[Any]:
        """End after the step that runs. Returns what finished and was not polled."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if self._thread is not threading.current_thread():  # where the garbage of another call is collected
            self._thread.join()
        finished, self._finished = self._finished, []
        return finished

    def _run(self) -> None:
        try:
            while self._await_work() and self._acquire_step_lock():
                try:
                    finished = self._steppable.step()
                finally:
                    self._step_lock.release()
                if finished:
                    with self._changed:
                        self._finished += finished
                        self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - raised where the caller waits
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _acquire_step_lock(self) -> bool:
        """Wait for the lock unless the loop is stopped: its holder may be the one who waits for this thread's end."""
        while not self._is_stopped:
            if self._step_lock.acquire(timeout=LOCK_POLL_S):
                return True
        return False

    def _await_work(self) -> bool:
        """Take the next window, and wait for it where the loop wants one. Returns whether there is a step to run."""
        window = None
        with self._changed:
            if self._steppable.wants_requests:
                self._changed.wait_for(lambda: self._window is not None or self._is_input_closed or self._is_stopped)
                window, self._window = self._window, None
                self._changed.notify_all()
            if self._is_stopped:
                return False
        if window is not None:
            self._steppable.add(window)
        return self._steppable.has_work
