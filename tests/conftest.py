"""For all tests."""

from __future__ import annotations

import os

from postgresql_server import postgresql_url

__all__ = ["postgresql_url"]


def pytest_configure() -> None:
    # A worker of pytest-xdist is given the width of the terminal, which the harness's console would keep for good: what
    # a test wraps would depend on who runs it. Each test that cares says how wide it is.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
