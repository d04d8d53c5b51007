"""Python functions in processes of their own, forked from one that has imported what they need.

A controller of campaigns spends more time importing DBOS and SQLAlchemy than running a small campaign, and tests start
many. The process that is forked imports the libraries alone: it has no threads and reads nothing of the test's.
"""

from __future__ import annotations

import ctypes
import io
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pytest", "psycopg", "harness.campaign.engine", "harness.campaign.register"])
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


class Forked:
    """`main(*words)` in a process that ends with its return value as exit code; what tests use of subprocess.Popen.

    It has the environment and the folder of this process, and ends with it.
    """

    def __init__(self, main: Callable[..., int], *words: str) -> None:
        out, its_out = CONTEXT.Pipe(duplex=False)
        err, its_err = CONTEXT.Pipe(duplex=False)
        start = (main, words, dict(os.environ), Path.cwd(), its_out, its_err)
        self._process = CONTEXT.Process(target=_run, args=start)
        self._process.start()
        its_out.close()
        its_err.close()
        self.args = words
        self.stdout, self.stderr = _stream(out), _stream(err)

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it writes from now on, to its end. Where that does not come in time it is killed."""
        with ThreadPoolExecutor(2) as readers:
            texts = [readers.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        self.stdout.close()
        self.stderr.close()
        return texts[0].result(), texts[1].result()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


def _stream(end: Connection) -> io.TextIOWrapper:
    stream = os.fdopen(os.dup(end.fileno()), encoding="utf-8")
    end.close()
    return stream


def _run(
    main: Callable[..., int],
    words: tuple[str, ...],
    environment: dict[str, str],
    folder: Path,
    out: Connection,
    err: Connection,
) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    for end, number in ((out, 1), (err, 2)):
        os.dup2(end.fileno(), number)
        end.close()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.exit(main(*words))
