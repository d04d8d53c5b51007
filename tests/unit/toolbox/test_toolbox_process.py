"""What a killed harness has started ends with it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from harness.wait import until

# The program's own child is what goes on, where only the program is ended.
STARTS = """
import sys
from harness.toolbox.process import bound, run
run(bound(["sh", "-c", f"sleep {sys.argv[1]} & wait"]))
"""


def running(seconds: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == b"sleep\0" + seconds.encode() + b"\0":
                return True
        except OSError:  # it has just ended
            continue
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of its own needs root: sudo tests/run")
def test_whatever_was_started_ends_with_a_killed_harness() -> None:
    seconds = f"{secrets.randbelow(10**6) + 1000}.5"
    with subprocess.Popen([sys.executable, "-c", STARTS, seconds]) as harness:
        try:
            until(lambda: running(seconds), seconds=30, what="the start")
        finally:
            harness.kill()
    until(lambda: not running(seconds), seconds=30, what="the end")
