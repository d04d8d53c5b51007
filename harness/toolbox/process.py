"""Run a local program to its end, turning failure into an error that shows the last of its output."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError, UnavailableError


def run(
    argv: Sequence[str | Path], *, stdin: str | None = None, timeout: float = 1800, env: dict[str, str] | None = None
) -> str:
    """Run `argv`, return its stdout.

    Raises UnavailableError when the program is missing, HarnessError when it fails or outlasts `timeout` seconds.
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
    try:
        return subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **(env or {})},
        )
    except FileNotFoundError:
        raise UnavailableError(
            f"program {words[0]!r} is not installed", where=_shown(argv), fix="nohype doctor names the package"
        ) from None
    except subprocess.TimeoutExpired:
        raise HarnessError(f"still running after {timeout:g} s", where=_shown(argv)) from None


def _shown(argv: Sequence[str | Path]) -> str:
    return " ".join(str(word) for word in argv[:6]) + (" ..." if len(argv) > 6 else "")


def bound(argv: Sequence[str]) -> list[str]:
    """The argument list that runs `argv` so that all it starts ends with it, and it with us, however that comes.

    It takes root, and numbers processes anew. A death signal alone would reach the program, and not its children.
    """
    return ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", *argv]


def require_root(what: str) -> None:
    """Raises UnavailableError unless run as root."""
    if os.geteuid() != 0:
        raise UnavailableError(f"{what} needs root", fix="run the same command with sudo")
