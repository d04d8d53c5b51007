"""The tests' PostgreSQL server ends with the tests, also where these are killed and nobody is left to end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import bound_to_us, with_word

from harness.paths import repo_root
from harness.wait import until

# Tells by whom it is run and where its server is, and goes on until it is killed.
TEST = """
import os, signal
from pathlib import Path

def test_forever(postgresql_url):
    Path("told.new").write_text(f"{os.getpid()} {postgresql_url.partition('host=')[2]}")
    Path("told.new").rename("told")
    while True:
        signal.pause()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the PostgreSQL server needs root: sudo tests/run")
@pytest.mark.parametrize(
    ("how", "words"),
    [(signal.SIGTERM, ()), (signal.SIGKILL, ("-n", "1", "--max-worker-restart", "0"))],
    ids=["pytest", "worker"],
)
def test_it_ends_with_the_process_that_runs_the_tests(
    tmp_path: Path, how: signal.Signals, words: tuple[str, ...]
) -> None:
    (tmp_path / "test_forever.py").write_text(TEST)
    told = tmp_path / "told"
    options = ["-p", "postgresql_server", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), *words]
    env = {**os.environ, "PYTHONPATH": str(repo_root() / "tests")}
    argv = bound_to_us([sys.executable, "-m", "pytest", *options, "test_forever.py"])
    with (tmp_path / "log").open("w") as log:
        tests = subprocess.Popen(argv, cwd=tmp_path, env=env, stdout=log, stderr=log)
    try:
        # The first use builds the server's Debian root.
        until(lambda: told.exists() or tests.poll() is not None, seconds=600, what="the start of the server")
        assert told.exists(), (tmp_path / "log").read_text()
        pid, folder = told.read_text().split()
        assert with_word(folder)
        os.kill(int(pid), how)
        until(lambda: not with_word(folder), seconds=30, what="the end of the server")
    finally:
        tests.kill()
        tests.wait()
