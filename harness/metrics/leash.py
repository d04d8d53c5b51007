"""Run a program that must not outlive its parent, one at a time:
`python -m harness.metrics.leash LOCK PROGRAM ARG...`, stdin a pipe.

When the pipe's other end closes, by intent or because the parent was killed, the program is told to end. (The
kernel's own PR_SET_PDEATHSIG follows the thread that started the child, and threads come and go.) While another
program runs under the same LOCK file, this one waits. The program inherits the lock: it is free when that is gone.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading

_END_SECONDS = 20.0  # Prometheus writes its head block on the way out


def main(lock: str, argv: list[str]) -> int:
    program: list[subprocess.Popen[bytes]] = []
    begin = threading.Lock()  # held while it is undecided whether the program starts or the leash is dropped first

    def watch() -> None:
        while os.read(0, 4096):
            pass
        with begin:
            if not program:
                os._exit(0)
        program[0].terminate()
        try:
            program[0].wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            program[0].kill()

    threading.Thread(target=watch, daemon=True).start()
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting: another program holds {lock}", file=sys.stderr, flush=True)
        fcntl.flock(handle, fcntl.LOCK_EX)
    with begin:
        program.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=[handle]))
    signal.signal(signal.SIGTERM, lambda *_: program[0].terminate())
    return program[0].wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
