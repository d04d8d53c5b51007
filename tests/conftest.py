"""For all tests: a PostgreSQL server of the tests' own, for those that ask for one."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.toolbox.debian import RootRecipe, inside, root_folder
from harness.wait import until

POSTGRESQL = RootRecipe(name="postgresql", packages=("postgresql",))
ACCOUNT = "nobody"  # PostgreSQL refuses to run as root; this account is the same inside and outside of its root


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A database on a Unix socket, in memory where /tmp is; gone with the session."""
    if os.geteuid() != 0:
        pytest.skip("the PostgreSQL server needs root: sudo tests/run")
    root = root_folder(POSTGRESQL)
    version = next((root / "usr/lib/postgresql").iterdir()).name
    programs = f"/usr/lib/postgresql/{version}/bin"
    with tempfile.TemporaryDirectory(prefix="nohype-postgresql-", dir="/tmp") as folder:  # sockets need short names
        os.chown(folder, pwd.getpwnam(ACCOUNT).pw_uid, -1)

        def argv(*words: str) -> list[str]:
            as_account = ["setpriv", f"--reuid={ACCOUNT}", "--clear-groups", "--", *words]
            return inside(root, as_account, (Path(folder),))

        data = f"{folder}/data"
        initialise = argv(f"{programs}/initdb", "-D", data, "-U", "tests", "-A", "trust", "--no-sync")
        subprocess.run(initialise, check=True, capture_output=True)
        with (Path(folder) / "log").open("wb") as log:
            server = subprocess.Popen(
                argv(f"{programs}/postgres", "-D", data, "-k", folder, "-h", "", "-F"), stdout=log, stderr=log
            )
        try:
            socket = Path(folder, ".s.PGSQL.5432")
            until(lambda: socket.exists() or server.poll() is not None, seconds=60, what="start of PostgreSQL")
            yield f"postgresql://tests@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # a fast shutdown
            server.wait(30)
