"""Connections to the database behind the store, and its tables."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from harness.errors import InputError, UnavailableError
from harness.paths import state_dir
from harness.results.tables import SCHEMA_VERSION, Base, SchemaRow

DATABASE_VARIABLE = "NOHYPE_DATABASE_URL"
_BUSY_SECONDS = 30  # how long a writer waits for another one before it gives up
_LOCK_KEY = 0x6E6F6879  # PostgreSQL's advisory lock while tables are made; "nohy"


def default_url() -> str:
    """$NOHYPE_DATABASE_URL, else a SQLite file in the state folder."""
    return os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{state_dir() / 'results.sqlite'}"


def parse_url(url: str) -> URL:
    """Raises InputError where it is none of a database this store knows."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InputError(
            "the database URL cannot be understood",
            where=DATABASE_VARIABLE,
            fix="for example postgresql://user@server/nohype or sqlite:////full/path/results.sqlite",
        ) from None
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise InputError(
            f"databases of kind {kind!r} are not supported", where=DATABASE_VARIABLE, fix="use sqlite or postgresql"
        )
    return parsed


def open_engine(url: URL) -> Engine:
    """Connections that begin their transactions right; those with the option `nohype_write` are for writing."""
    if url.get_backend_name() != "sqlite":
        try:
            return create_engine(url, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise UnavailableError(
                f"the Python package {error.name} is not installed",
                where=url.render_as_string(hide_password=True),
                fix="install it: pip install 'nohype-testbed[postgresql]'",
            ) from None
    if url.database:
        with contextlib.suppress(OSError):  # opening it will say what is wrong
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin below, not by sqlite3's guessing
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # A writer takes the lock at once: one that read first could not get it any more after another one wrote.
        write = connection.get_execution_options().get("nohype_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def prepare(reader: Engine, writer: Engine, where: str) -> None:
    """Make the tables where there are none, and bring older ones up to date; what they hold stays.

    Raises UnavailableError for those of a newer version of the harness.
    """
    if _version(reader) in (None, *_STEPS):
        with writer.begin() as connection:
            _make_tables(connection)
    found = _version(reader)
    if found != SCHEMA_VERSION:
        raise UnavailableError(
            f"the results store has schema version {found}, this harness needs {SCHEMA_VERSION}",
            where=where,
            fix=f"use the harness that made it (nohype results export), or name another store in {DATABASE_VARIABLE}",
        )


def _version(engine: Engine) -> int | None:
    with engine.begin() as connection:
        if not inspect(connection).has_table(SchemaRow.__tablename__):
            return None
        return connection.scalar(select(SchemaRow.version))


def _make_tables(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # SQLite's writers are alone anyway
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    if not inspect(connection).has_table(SchemaRow.__tablename__):
        Base.metadata.create_all(connection)
        connection.execute(insert(SchemaRow).values(version=SCHEMA_VERSION))
    while step := _STEPS.get(connection.scalar(select(SchemaRow.version)) or 0):  # none if somebody was faster
        step(connection)
        connection.execute(update(SchemaRow).values(version=SchemaRow.version + 1))


def _add_tables(connection: Connection) -> None:
    """Make those that are missing."""
    Base.metadata.create_all(connection)


# What leads from a schema version to the next one.
_STEPS: dict[int, Callable[[Connection], None]] = {1: _add_tables}


def why(error: SQLAlchemyError) -> str:
    """What the database said, on one line and without the statement."""
    inner = getattr(error, "orig", None)
    return " ".join(str(inner or error).split())
