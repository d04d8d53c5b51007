"""Wait for a condition with a deadline (the harness's own helper cannot be imported here)."""

from __future__ import annotations

import time
from collections.abc import Callable

from .errors import AgentError


def until(
    check: Callable[[], bool], *, seconds: float, what: str, where: str = "", fix: str = "", interval: float = 0.05
) -> None:
    """Call `check` until it is true. Raises AgentError naming `what` was awaited after `seconds`."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() >= deadline:
            raise AgentError(f"{what} did not happen within {seconds:g} s", where=where, fix=fix)
        time.sleep(interval)
