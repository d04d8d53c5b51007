"""All tests: lint, then unit and integration tests in parallel, then rack tests, which share one rack, in one process.

A part that fails stops no other; the worst exit code counts. Run by tests/run, with the interpreter of the system: it
needs nothing but the standard library. Python, since bash loses a child's end when a signal interrupts its `wait`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from types import FrameType

# One worker more than there are processors: tests wait for hosts and for each other's files as well.
WORKERS = len(os.sched_getaffinity(0)) + 1
PARTS = (
    ("lint", ("tests/lint",)),
    (
        "unit and integration tests",
        (
            *(".venv/bin/pytest", "tests/unit", "tests/integration", "--durations=25"),
            *("-n", str(WORKERS), "--dist", "loadgroup"),
        ),
    ),
    ("rack tests", (".venv/bin/pytest", "tests/rack", "--durations=25")),
)
# What the rack tests need takes longest: it is built from the beginning, with the processor time that the others leave.
# Those tests wait for it, and build what is still missing. The toolbox alone is built at once: other tests need it too,
# and a worker that waited for it would wait for all the others.
BUILD = """
.venv/bin/python -c 'from harness.toolbox.root import toolbox; toolbox()' && exec nice -n 19 .venv/bin/nohype rack build
"""


class Ended(BaseException):
    """A signal asks us to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def end(signum: int, frame: FrameType | None) -> None:
    signal.signal(signum, signal.SIG_IGN)  # once: what we end is waited for
    raise Ended(signum)


def run_part(argv: Sequence[str]) -> int:
    """The part's exit code. A signal ends the part first: Ctrl-C reaches it by itself, and SIGTERM as its Ctrl-C."""
    with subprocess.Popen(argv, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)) as part:
        try:
            status = part.wait()
        except Ended as ended:
            if ended.signum != signal.SIGINT:
                part.send_signal(signal.SIGINT)
            part.wait()
            raise
    return status if status >= 0 else 128 - status


@contextlib.contextmanager
def built_beside() -> Iterator[None]:
    """Build for the rack tests within the block, and tell at its end what the build has said."""
    if os.geteuid() != 0:
        yield
        return
    with tempfile.TemporaryFile("w+") as said:
        build = subprocess.Popen(
            ["/bin/sh", "-c", BUILD],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            process_group=0,  # all of which can be ended
        )
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(build.pid, signal.SIGINT)
            build.wait()
            said.seek(0)
            print("--- built beside the tests", said.read(), sep="\n", end="", flush=True)


def main() -> int:
    worst = 0
    outcomes = []
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, end)
    try:
        with built_beside():
            for name, argv in PARTS:
                began = time.monotonic()
                status = run_part(argv)
                worst = max(worst, status)
                outcome = f"FAILED, exit code {status}" if status else "passed"
                outcomes.append(f"--- {name}: {outcome}, {time.monotonic() - began:.0f} s")
    except Ended as ended:
        return 128 + ended.signum
    finally:
        print(*outcomes, sep="\n", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
