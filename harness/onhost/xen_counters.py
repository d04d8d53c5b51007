"""VM exit counters on Xen: a service that reads Xen's trace as it comes, adds up, and answers who asks.

Xen has no counters by reason. Its trace buffers are emptied many times a second into a pipe and forgotten; what they
had no room for Xen counts, and so does `dropped`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import time
from pathlib import Path

from .errors import AgentError
from .records import Histogram
from .system import ROOT
from .wait import until
from .xen_trace import EVENTS, Decoder

POLL_MS = 20  # how often xentrace empties Xen's buffers
# For each physical CPU: of 36 bytes an exit and its entry, room for 29,000 of them between two looks.
BUFFER_PAGES = 256
_SETTLE_SECONDS = 5 * POLL_MS / 1000  # until what has happened is sure to be counted
_ANSWER_SECONDS = 10.0
_START_SECONDS = 60.0
_ARGUMENTS = (
    *("--discard-buffers", f"--evt-mask={EVENTS:#x}"),
    *(f"--poll-sleep={POLL_MS}", f"--trace-buf-size={BUFFER_PAGES}"),
)


def socket_path(root: Path = ROOT) -> Path:
    return root / "run/nohype/xen-counters.sock"


def read(root: Path = ROOT, *, settled: bool = True) -> Histogram | None:
    """The counters, with all that has happened until now where `settled`; None where nobody counts."""
    if settled:
        time.sleep(_SETTLE_SECONDS)  # there is nothing to wait for: a buffer without news is not passed on
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        try:
            connection.connect(str(socket_path(root)))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        with connection.makefile("rb") as answer:
            document = json.load(answer)
    counts = {(domain, vcpu, code): count for domain, vcpu, code, count in document["counts"]}
    return Histogram(counts, document["dropped"])


def setup(root: Path = ROOT) -> dict[str, object]:
    """Wait until the service counts."""
    until(
        lambda: read(root, settled=False) is not None,
        seconds=_START_SECONDS,
        what="the counter of VM exits",
        where="nohype-xen-counters.service",
        fix="see: journalctl -u nohype-xen-counters",
    )
    return {"changed": False}


def serve(root: Path = ROOT) -> None:
    """Count until told to end. Raises AgentError when xentrace ends by itself."""
    path = socket_path(root)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    decoder = Decoder()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, selectors.DefaultSelector() as ready:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        trace = subprocess.Popen(["xentrace", *_ARGUMENTS], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert trace.stdout is not None
        ready.register(trace.stdout, selectors.EVENT_READ)
        ready.register(listener, selectors.EVENT_READ)
        try:
            while True:
                for key, _ in ready.select():
                    if key.fileobj is listener:
                        _answer(listener, decoder)
                        continue
                    data = os.read(trace.stdout.fileno(), 1 << 20)
                    if not data:
                        raise AgentError(f"xentrace ended with {trace.wait()}", where="nohype-xen-counters.service")
                    decoder.feed(data)
        finally:
            path.unlink(missing_ok=True)
            trace.send_signal(signal.SIGINT)  # upon which it switches tracing off
            trace.wait()


def _answer(listener: socket.socket, decoder: Decoder) -> None:
    document = {"counts": [[*key, count] for key, count in decoder.counts.items()], "dropped": decoder.dropped}
    connection, _ = listener.accept()
    with connection, contextlib.suppress(OSError):  # who asked may have gone
        connection.settimeout(_ANSWER_SECONDS)
        connection.sendall(json.dumps(document).encode())
