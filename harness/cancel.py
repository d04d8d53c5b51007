"""How a thread is told to end. It cannot be ended from outside: what takes long in it looks whether it is to end.

`harness.wait.until` and `harness.toolbox.process.run` look. `harness.parallel` tells.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

# Each thread has its own, so that nothing has to be handed down to every wait, and no other thread is cancelled.
_asked: ContextVar[Callable[[], bool]] = ContextVar("asked", default=lambda: False)


class Cancelled(BaseException):
    """This thread is to end: another one has failed, or Ctrl-C. No `Exception`: nobody may take it for a failure."""


def cancel_when(asked: Callable[[], bool]) -> None:
    """From now on, the thread that calls this is to end as soon as `asked` says so."""
    _asked.set(asked)


def check_cancelled() -> None:
    """Raises Cancelled where the thread that calls it is to end."""
    if _asked.get()():
        raise Cancelled
