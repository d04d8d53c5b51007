"""Work side by side ends together: both run, the first error wins, and what the others have started ends with them."""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from test_toolbox_process import running

from harness.errors import HarnessError, UnavailableError
from harness.parallel import side_by_side
from harness.toolbox.cache import cached, locked
from harness.toolbox.process import bound, run
from harness.wait import until

# One of the two waits in Python, the other one for a program whose child is what goes on where only it is ended.
TWO = """
import sys
from harness.errors import ExitCode
from harness.parallel import side_by_side
from harness.toolbox.process import bound, run
from harness.wait import until

def compiles():
    run(bound(["sh", "-c", f"sleep {sys.argv[1]} & wait"]))

try:
    side_by_side(compiles, lambda: until(lambda: False, seconds=600, what="never"))
except KeyboardInterrupt:
    sys.exit(ExitCode.INTERRUPTED)
"""


def unique() -> str:
    return f"{secrets.randbelow(10**6) + 1000}.5"


def never() -> None:
    until(lambda: False, seconds=600, what="never")


def test_all_run_at_the_same_time_and_to_their_end() -> None:
    met = threading.Barrier(2, timeout=60)  # one after the other would never get past it
    ended: list[str] = []

    def work(name: str) -> None:
        met.wait()
        ended.append(name)

    side_by_side(lambda: work("images"), lambda: work("kernel"))
    assert sorted(ended) == ["images", "kernel"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_first_error_wins_and_the_other_work_is_stopped(order: int) -> None:
    def fails() -> None:
        raise HarnessError("a patch does not apply")

    begun = time.monotonic()
    with pytest.raises(HarnessError, match=r"^a patch does not apply$"):
        side_by_side(*[never, fails][::order])
    assert time.monotonic() - begun < 60


def test_an_error_that_comes_from_being_stopped_is_not_told() -> None:
    failing = threading.Event()

    def first() -> None:
        failing.set()
        raise HarnessError("first")

    def second() -> None:
        failing.wait(60)
        try:
            never()
        finally:
            raise HarnessError("second")

    with pytest.raises(HarnessError, match=r"^first$"):
        side_by_side(second, first)


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of its own needs root: sudo tests/run")
def test_a_failure_ends_the_programs_of_the_others() -> None:
    seconds = unique()

    def fails() -> None:
        until(lambda: running(seconds), seconds=60, what="the start")
        raise HarnessError("no")

    with pytest.raises(HarnessError, match=r"^no$"):
        side_by_side(lambda: run(bound(["sh", "-c", f"sleep {seconds} & wait"])), fails)
    assert not running(seconds)


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of its own needs root: sudo tests/run")
def test_ctrl_c_ends_all_of_it_and_leaves_nothing_running() -> None:
    seconds = unique()
    argv = ["env", "--default-signal=INT", sys.executable, "-c", TWO, seconds]
    with subprocess.Popen(argv) as harness:
        try:
            until(lambda: running(seconds), seconds=60, what="the start")
            harness.send_signal(signal.SIGINT)  # to it alone, as `kill -INT` does: its programs do not get it
            assert harness.wait(60) == 130
        finally:
            harness.kill()
    assert not running(seconds)


def test_a_cancelled_build_leaves_nothing_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOHYPE_CACHE", str(tmp_path))
    building = threading.Event()

    def build(folder: Path) -> None:
        (folder / "half").touch()
        building.set()
        run(["sleep", "600"])

    def fails() -> None:
        building.wait(60)
        raise HarnessError("no")

    with pytest.raises(HarnessError, match=r"^no$"):
        side_by_side(lambda: cached("thing", "1", build), fails)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_who_waits_for_another_process_s_build_can_be_stopped(tmp_path: Path) -> None:
    def waits() -> None:
        with locked(tmp_path / "lock"):
            raise AssertionError("the lock was taken")

    def fails() -> None:
        raise HarnessError("no")

    with (tmp_path / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(HarnessError, match=r"^no$"):
            side_by_side(waits, fails)


def test_only_threads_side_by_side_are_cancelled() -> None:
    with pytest.raises(HarnessError):
        side_by_side(lambda: run(["false"]))
    assert until(lambda: True, seconds=math.inf, what="it")
    assert run(["cat"], stdin="x" * 200_000) == "x" * 200_000


def test_a_program_that_is_missing_or_takes_too_long() -> None:
    with pytest.raises(HarnessError, match=r"still running after 0.3 s"):
        run(["sleep", "600"], timeout=0.3)
    with pytest.raises(UnavailableError, match="'no-such-program' is not installed"):
        run(["no-such-program"])
    with pytest.raises(UnavailableError, match="'no-such-program' is not installed"):
        bound(["no-such-program"])


def test_within_each_other_the_inner_ones_end_with_the_outer() -> None:
    waiting = threading.Event()

    def waits() -> None:
        waiting.set()
        never()

    def fails() -> None:
        waiting.wait(60)
        raise HarnessError("outer")

    with pytest.raises(HarnessError, match=r"^outer$"):
        side_by_side(lambda: side_by_side(waits, never), fails)
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("(work_on)")]


def test_ctrl_c_is_not_lost_however_early_it_comes() -> None:
    """While threads are still being started, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def presses() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        never()

    try:
        for _ in range(20):
            with pytest.raises(KeyboardInterrupt):
                side_by_side(presses, never)
    finally:
        signal.signal(signal.SIGINT, before)
