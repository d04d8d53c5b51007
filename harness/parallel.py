"""Run several functions at the same time, so that they end together: when one fails, and on Ctrl-C."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

from harness.cancel import Cancelled, cancel_when
from harness.wait import until


def side_by_side(*works: Callable[[], object]) -> None:
    """Call each of `works` in a thread of its own; returns when all have returned.

    When one raises, the others are cancelled (harness.cancel), and its error is raised when they have ended; errors
    that come after the first one are dropped. Ctrl-C cancels all of them, and KeyboardInterrupt is raised when they
    have ended; a second Ctrl-C does not wait for that.
    """
    stop, lock = threading.Event(), threading.Lock()
    errors: list[BaseException] = []

    def work_on(work: Callable[[], object]) -> None:
        cancel_when(stop.is_set)
        try:
            work()
        except Cancelled:
            pass
        except BaseException as error:
            with lock:
                errors.append(error)
            stop.set()

    threads = [threading.Thread(target=work_on, args=(work,), daemon=True) for work in works]
    try:
        for thread in threads:
            thread.start()
        # Not join: this wait holds no lock that Ctrl-C could leave taken, and ends where we ourselves are cancelled.
        _await_end(threads)
    except BaseException:
        stop.set()
        for thread in threads:
            if thread.is_alive():
                thread.join()
        raise
    if errors:
        raise errors[0]


def _await_end(threads: Sequence[threading.Thread]) -> None:
    until(lambda: not any(thread.is_alive() for thread in threads), seconds=math.inf, what="end", interval=0.05)
