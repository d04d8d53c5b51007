"""Files whose lock tells which process of this control node is at work. A lock ends with its process, in any case."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from harness.errors import DeadlineError, HarnessError
from harness.results.artifacts import storing
from harness.wait import until


def holder(path: Path) -> int | None:
    """The process that holds it, 0 where that is not known; None where none does."""
    with contextlib.suppress(OSError), path.open(encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = handle.read().strip()
            return int(text) if text.isdigit() else 0
    return None


@contextlib.contextmanager
def holding(path: Path, taken: Callable[[int | None], HarnessError]) -> Iterator[None]:
    """Hold it within, with this process' number in it. Raises what `taken` makes of the process that holds it now."""
    with _opened(path) as handle:
        try:  # others hold it for a moment, to see whether anybody does
            until(lambda: try_lock(handle, path), seconds=1, what="lock")
        except DeadlineError:
            raise taken(holder(path)) from None
        with storing(path):
            handle.truncate(0)
            handle.write(f"{os.getpid()}\n")
            handle.flush()
        yield


@contextlib.contextmanager
def in_turn(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold it within, as soon as nobody else does; `wait` is called once where that takes waiting."""
    with _opened(path) as handle:
        if not try_lock(handle, path):
            wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def try_lock(handle: IO[str], path: Path) -> bool:
    """Whether the open file is ours now. Raises StorageError where files cannot be locked."""
    with storing(path):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _opened(path: Path) -> IO[str]:
    with storing(path):
        return path.open("a+", encoding="utf-8")
