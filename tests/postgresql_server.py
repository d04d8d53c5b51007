"""A PostgreSQL server of the tests' own. It ends with the process that started it, however that ends."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from harness.toolbox.debian import RootRecipe, inside, root_folder
from harness.wait import until

RECIPE = RootRecipe(name="postgresql", packages=("postgresql",))
ACCOUNT = "nobody"  # PostgreSQL refuses to run as root; this account is the same inside and outside of its root
FOLDERS = "nohype-postgresql-"


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A database on a Unix socket, in memory where /tmp is; gone with the session.

    Under pytest-xdist each worker that asks for it has one; tests of the group "postgresql" share a worker.
    """
    if os.geteuid() != 0:
        pytest.skip("the PostgreSQL server needs root: sudo tests/run")
    root = root_folder(RECIPE)
    version = next((root / "usr/lib/postgresql").iterdir()).name
    programs = f"/usr/lib/postgresql/{version}/bin"
    with _folder() as folder:

        def argv(*words: str) -> list[str]:
            # The death signal is the last that setpriv sets: a change of account clears it. SIGINT is a fast shutdown.
            as_account = ["setpriv", f"--reuid={ACCOUNT}", "--clear-groups", "--pdeathsig", "INT", "--", *words]
            return inside(root, as_account, (folder,))

        data = f"{folder}/data"
        initialise = argv(f"{programs}/initdb", "-D", data, "-U", "tests", "-A", "trust", "--no-sync")
        subprocess.run(initialise, check=True, capture_output=True)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                argv(f"{programs}/postgres", "-D", data, "-k", str(folder), "-h", "", "-F"), stdout=log, stderr=log
            )
        try:
            socket = folder / ".s.PGSQL.5432"
            until(lambda: socket.exists() or server.poll() is not None, seconds=60, what="start of PostgreSQL")
            assert server.poll() is None, (folder / "log").read_text()
            yield f"postgresql://tests@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder of the account's for the block, with a name that is short enough for sockets.

    What killed runs have left is cleared away: a folder is in use while its lock is held.
    """
    with ExitStack() as stack:
        for left in Path("/tmp").glob(f"{FOLDERS}*"):
            with suppress(OSError), (left / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
        unlocked = Path(tempfile.mkdtemp(prefix=f".{FOLDERS}", dir="/tmp"))
        folder = unlocked.with_name(unlocked.name.removeprefix("."))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        held = stack.enter_context((unlocked / "lock").open("w"))
        fcntl.flock(held, fcntl.LOCK_EX)
        os.chown(unlocked, pwd.getpwnam(ACCOUNT).pw_uid, -1)
        unlocked.rename(folder)
        yield folder
