"""Run several functions at the same time, so that they end together: when one fails, and on Ctrl-C.

A thread cannot be ended from outside. What takes long within (`harness.wait.until`, `harness.toolbox.process.run`)
looks whether its thread is to end, and raises `Cancelled` then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import ContextVar

# Per thread, so that only threads of `side_by_side` are cancelled, and nothing has to be handed down to every wait.
_asked: ContextVar[Callable[[], bool]] = ContextVar("asked", default=lambda: False)


class Cancelled(BaseException):
    """This thread is to end: another one has failed, or Ctrl-C. No `Exception`: nobody may take it for a failure."""


def check_cancelled() -> None:
    """Raises Cancelled where the thread that calls it is to end."""
    if _asked.get()():
        raise Cancelled


def side_by_side(*works: Callable[[], object]) -> None:
    """Call each of `works` in a thread of its own; returns when all have returned.

    When one raises, the others are cancelled, and its error is raised when they have ended; errors that come after the
    first one are dropped. Ctrl-C cancels all of them, and KeyboardInterrupt is raised when they have ended.
    """
    stop, lock = threading.Event(), threading.Lock()
    first: list[BaseException] = []

    def work_on(work: Callable[[], object]) -> None:
        _asked.set(stop.is_set)
        try:
            work()
        except Cancelled:
            raise
        except BaseException as error:
            with lock:
                first.append(error)
            stop.set()
            raise

    with ThreadPoolExecutor(len(works), thread_name_prefix="side") as pool:
        futures = [pool.submit(work_on, work) for work in works]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            stop.set()
            raise
    if first:
        raise first[0]
