"""Random interrupts of calls: by a signal in the main thread, or by another thread.

Both strike between any two instructions of Python's evaluation loop, in our own code, in that of
the standard library, and in context managers and clean-ups as well.
"""

from __future__ import annotations

import ctypes
import itertools
import random
import signal
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, Final


class Interrupted(BaseException):
    """As KeyboardInterrupt; its own class, so that Ctrl-C still ends the tests."""


class TimedOutError(Exception):
    """An interrupt that `except Exception` catches, as limits of time often raise."""


_LONGEST: Final = 2.0  # seconds


class Interrupter:
    """Interrupts calls at random moments.

    Attributes:
        count: The calls that were interrupted.
        kept: The last exceptions: their tracebacks keep frames alive, as a debugger does.
        may_start_threads: Whether the calls may start threads.
    """

    may_start_threads = True

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.count = 0
        self.kept: deque[BaseException] = deque(maxlen=3)
        self._durations: defaultdict[str, float] = defaultdict(lambda: 1e-3)

    def call(self, name: str, function: Callable[[], Any]) -> bool:
        """Calls a function, and returns whether it was left alone; calls of a name take as long."""
        usual = self._durations[name]
        delay = min(self.random.uniform(1e-6, 1.2 * usual), _LONGEST)
        began = time.perf_counter()
        kind = self.random.choice([Interrupted, TimedOutError])
        try:
            self._run(function, delay, kind)
        except BaseException as error:
            if not was_interrupted(error):
                raise
            self.count += 1
            if self.random.random() < 0.5:
                self.kept.append(error)
            self._durations[name] = max(usual * 1.02, 1e-5)
            return False
        self._durations[name] = 0.8 * usual + 0.2 * (time.perf_counter() - began)
        return True

    def _run(self, function: Callable[[], Any], delay: float, kind: type[BaseException]) -> None:
        def strike(*_: object) -> None:
            raise kind

        previous = signal.signal(signal.SIGALRM, strike)
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                function()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        finally:
            signal.signal(signal.SIGALRM, previous)


def was_interrupted(error: BaseException | None) -> bool:
    """Whether an interrupt led to an error: others translate what they catch."""
    while error is not None:
        if isinstance(error, (Interrupted, TimedOutError)):
            return True
        error = error.__cause__ or error.__context__
    return False


class ThreadInterrupter(Interrupter):
    """Interrupts calls of the thread that uses it by exceptions that another thread sets."""

    # Before 3.12, a thread that begins had the identifier of the one that starts it: the exception
    # then ends the new thread, and `Thread.start` waits for it without end.
    may_start_threads = sys.version_info >= (3, 12)

    def _run(self, function: Callable[[], Any], delay: float, kind: type[BaseException]) -> None:
        thread = threading.get_ident()
        state = threading.Lock()  # the exception is set while the call runs, or never
        running = True

        def strike() -> None:
            with state:
                if running:
                    set_exception(thread, kind)

        timer = threading.Timer(delay, strike)
        timer.start()
        try:
            function()
        finally:
            # An interrupt here must not prevent the rest: try until it has come or cannot come.
            for _ in itertools.repeat(None):
                try:
                    with state:
                        running = False
                    timer.cancel()
                    break
                except (Interrupted, TimedOutError):
                    continue


def set_exception(thread: int, kind: type[BaseException] | None) -> None:
    """Raises an exception in another thread as soon as it runs Python code."""
    raised = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
