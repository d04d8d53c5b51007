"""How many workflows are at work in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class AtWork:
    """Counts threads that are within `counted`."""

    def __init__(self) -> None:
        self._active = 0
        self._changed = threading.Condition()

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._changed:
            self._active += 1
        try:
            yield
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def await_idle(self) -> None:
        """Wait until none is: after a stop was asked for."""
        with self._changed:
            self._changed.wait_for(lambda: not self._active)
