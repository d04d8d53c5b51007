"""How lower rooms report long steps without knowing the terminal: they are handed a `Step`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# Called with what is being done; the returned context lasts as long as the doing.
Step = Callable[[str], AbstractContextManager[None]]


@contextmanager
def silent(_text: str) -> Iterator[None]:
    """A `Step` that reports nothing."""
    yield
