"""Leases of hosts: one block at a time works on a host, whoever's it is.

A lease ends with the process that holds it, however that ends. It is a file lock on this control node, or, where
control nodes share a PostgreSQL, a lock there.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator

from sqlalchemy import select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import func

from harness.errors import StorageError
from harness.paths import state_dir
from harness.results.artifacts import storing
from harness.results.database import default_url, open_engine, parse_url, why
from harness.results.presence import try_lock


@contextlib.contextmanager
def lease(host: str, wait: Callable[[], None], url: str | None = None) -> Iterator[None]:
    """Hold `host` within. `wait` is called while somebody else holds it, again and again: it passes some time.

    Raises StorageError, and what `wait` raises.
    """
    parsed = parse_url(url or default_url())
    holding = _in_postgresql(parsed, host, wait) if parsed.get_backend_name() == "postgresql" else _here(host, wait)
    with holding:
        yield


@contextlib.contextmanager
def _here(host: str, wait: Callable[[], None]) -> Iterator[None]:
    path = state_dir() / "leases" / host
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    with handle:
        while not try_lock(handle, path):
            wait()
        yield


@contextlib.contextmanager
def _in_postgresql(url: URL, host: str, wait: Callable[[], None]) -> Iterator[None]:
    key = int.from_bytes(hashlib.sha256(f"nohype-host {host}".encode()).digest()[:8], signed=True)
    engine = open_engine(url)
    try:
        # The lock is the connection's; the server frees it when the connection ends.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not connection.scalar(select(func.pg_try_advisory_lock(key))):
                wait()
            yield
    except SQLAlchemyError as error:
        raise StorageError(f"the lease of host {host} was lost: {why(error)}", where=url.host or "") from None
    finally:
        engine.dispose()
