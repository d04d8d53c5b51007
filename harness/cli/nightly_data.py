"""The nightly that a command is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.results.model import NightlyRecord
    from harness.results.store import Store


@contextmanager
def opened(name: str | None) -> Iterator[tuple[Store, NightlyRecord]]:
    """The results store and the installed nightly of that name. Raises InputError, UnavailableError."""
    from harness.nightly.presence import find_nightly
    from harness.results.store import Store

    with Store() as store:
        yield store, find_nightly(store, name)
