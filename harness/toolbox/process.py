"""Run a local program to its end, turning failure into an error that shows the last of its output."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from harness.cancel import check_cancelled
from harness.errors import HarnessError, UnavailableError

_LOOK_SECONDS = 0.2  # how often a program's thread looks whether it is to end
_KILL_SECONDS = 5.0


def run(
    argv: Sequence[str | Path], *, stdin: str | None = None, timeout: float = 1800, env: dict[str, str] | None = None
) -> str:
    """Run `argv`, return its stdout.

    Raises UnavailableError when the program is missing, HarnessError when it fails or outlasts `timeout` seconds, and
    Cancelled in a thread that is to end (harness.cancel). A program that has not ended then is killed.
    """
    done = attempt(argv, stdin=stdin, timeout=timeout, env=env)
    if done.returncode != 0:
        tail = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-15:])
        raise HarnessError(f"ended with status {done.returncode}:\n{tail}", where=_shown(argv))
    return done.stdout


def attempt(
    argv: Sequence[str | Path], *, stdin: str | None = None, timeout: float = 1800, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `argv` to its end, whatever its status. Raises as `run` where the program is missing or takes too long."""
    words = [str(word) for word in argv]
    environment = {**os.environ, **(env or {})}
    pipe = subprocess.PIPE
    source = pipe if stdin is not None else None
    try:
        process = subprocess.Popen(words, stdin=source, stdout=pipe, stderr=pipe, text=True, env=environment)
    except FileNotFoundError:
        raise _not_installed(words[0], _shown(argv)) from None
    with process:
        try:
            output, complaints = _to_its_end(process, stdin, timeout)
        except TimeoutError:
            _kill(process)
            raise HarnessError(f"still running after {timeout:g} s", where=_shown(argv)) from None
        except BaseException:
            _kill(process)
            raise
    return subprocess.CompletedProcess(words, process.returncode, output, complaints)


def _to_its_end(process: subprocess.Popen[str], stdin: str | None, timeout: float) -> tuple[str, str]:
    """What the program wrote to stdout and stderr. Raises TimeoutError after `timeout` seconds, and Cancelled."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return process.communicate(stdin, timeout=min(_LOOK_SECONDS, max(deadline - time.monotonic(), 0)))
        except subprocess.TimeoutExpired:
            stdin = None  # it has begun to be written, and goes on by itself
            check_cancelled()
            if time.monotonic() >= deadline:
                raise TimeoutError from None


def _kill(process: subprocess.Popen[str]) -> None:
    """End it, and wait until its children have let go of its output: what `bound` ends dies a moment later."""
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=_KILL_SECONDS)


def _not_installed(program: str, where: str) -> UnavailableError:
    return UnavailableError(f"program {program!r} is not installed", where=where, fix="nohype doctor names the package")


def _shown(argv: Sequence[str | Path]) -> str:
    return " ".join(str(word) for word in argv[:6]) + (" ..." if len(argv) > 6 else "")


def bound(argv: Sequence[str]) -> list[str]:
    """The argument list that runs `argv` so that all it starts ends with it, and it with us, however that comes.

    It takes root, and numbers processes anew. A death signal alone would reach the program, and not its children.
    Raises UnavailableError when the program is missing.
    """
    if shutil.which(argv[0]) is None:
        raise _not_installed(argv[0], " ".join(argv[:6]))
    return ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", *argv]


def require_root(what: str) -> None:
    """Raises UnavailableError unless run as root."""
    if os.geteuid() != 0:
        raise UnavailableError(f"{what} needs root", fix="run the same command with sudo")
