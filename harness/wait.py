"""Wait for a condition with a deadline: the one place in the harness that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from harness.cancel import check_cancelled
from harness.errors import DeadlineError

T = TypeVar("T")


def until(
    check: Callable[[], T | None],
    *,
    seconds: float,
    what: str,
    where: str = "",
    fix: str = "",
    interval: float = 0.1,
) -> T:
    """Call `check` until it returns something true, and return that.

    Raises DeadlineError naming `what` was awaited when `seconds` have passed, and Cancelled in a thread that is to end
    (harness.cancel). `interval` is in seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        check_cancelled()
        result = check()
        if result:
            return result
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError(f"{what} did not happen within {seconds:g} s", where=where, fix=fix)
        time.sleep(min(interval, left))
