"""For all tests: a PostgreSQL server of the tests' own, for those that ask for one."""

from __future__ import annotations

from postgresql_server import postgresql_url

__all__ = ["postgresql_url"]
