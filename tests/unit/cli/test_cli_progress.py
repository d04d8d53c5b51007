"""Steps of several threads: one line for each that ended, and on a terminal what runs and what remains."""

from __future__ import annotations

import io
import re
import threading
import time

import pytest
from rich.console import Console

from harness.cancel import Cancelled
from harness.cli.progress import Steps, clock
from harness.errors import HarnessError
from harness.parallel import side_by_side
from harness.wait import until


def plain(text: io.StringIO) -> str:
    """Without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue().replace("\r", "\n"))


def test_without_a_terminal_only_ended_steps_have_a_line() -> None:
    text = io.StringIO()
    steps = Steps(Console(file=text, width=60))
    with steps.shown():
        with steps.running("guest image: [Debian] root") as running:
            running.detail = "apt"
            assert text.getvalue() == ""
        with pytest.raises(HarnessError), steps.step("host image"):
            raise HarnessError("no")
        for stop in (Cancelled, KeyboardInterrupt):
            with pytest.raises(stop), steps.step("kernel: compile"):
                raise stop
    lines = text.getvalue().splitlines()
    patterns = (
        r"✓ guest image: \[Debian\] root \(0\.\d s\)",
        r"✗ host image \(failed after 0\.\d s\)",
        *[r"– kernel: compile \(stopped after 0\.\d s\)"] * 2,
    )
    assert len(lines) == len(patterns)
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


def test_lines_start_with_the_time_since_the_beginning() -> None:
    text = io.StringIO()
    steps = Steps(Console(file=text, width=60), begun=time.monotonic() - 75)
    with steps.shown(), steps.step("toolbox"):
        pass
    assert re.fullmatch(r"   1:1[5-9] ✓ toolbox \(0\.\d s\)\n", text.getvalue())


def test_a_terminal_shows_what_every_thread_is_at_and_what_remains() -> None:
    text = io.StringIO()
    console = Console(file=text, width=60, force_terminal=True)
    steps = Steps(console, begun=time.monotonic(), left=lambda passed: 840 - passed)
    both = threading.Barrier(3, timeout=60)

    def work(name: str) -> None:
        with steps.running(name) as running:
            running.detail = "x" * 100
            both.wait()
            both.wait()

    def looks() -> None:
        both.wait()
        drawn = len(text.getvalue())
        # One picture holds both steps and what remains.
        picture = r"0:0\d images \(x+…\s+\S\s+0:0\d kernel \(x+…\s+0:0\d, about 1[34]:\d\d to go"
        until(lambda: re.search(picture, plain(text)[drawn // 2 :]) or None, seconds=60, what="picture of both")
        both.wait()

    with steps.shown():
        side_by_side(lambda: work("images"), lambda: work("kernel"), looks)
    assert max(len(line) for line in plain(text).splitlines()) <= 60
    ended = [line for line in plain(text).splitlines() if "✓" in line]
    assert len(ended) == 2


def test_one_that_fails_is_marked_and_the_one_it_stops_is_not_called_failed() -> None:
    text = io.StringIO()
    steps = Steps(Console(file=text, width=60))
    running = threading.Event()

    def kernel() -> None:
        with steps.step("kernel"):
            running.set()
            until(lambda: False, seconds=600, what="never")

    def images() -> None:
        running.wait(60)
        with steps.step("images"):
            raise HarnessError("no mirror")

    with steps.shown(), pytest.raises(HarnessError, match=r"^no mirror$"):
        side_by_side(kernel, images)
    marks = {line.split()[1]: line.split()[0] for line in text.getvalue().splitlines()}
    assert marks == {"images": "✗", "kernel": "–"}


def test_clock() -> None:
    assert [clock(seconds) for seconds in (5, 75, 3675)] == ["0:05", "1:15", "1:01:15"]
