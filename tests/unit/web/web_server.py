"""`nohype serve` as a process of its own, on an invented campaign (tests/unit/invented_report.py)."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import bound_to_us

HOSTILE = "<script>alert(1)</script>"
NOHYPE = [sys.executable, "-c", "from harness.cli import main; main()", "serve"]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass(frozen=True)
class Server:
    """A server that answers; `process` is its own."""

    process: subprocess.Popen[str]
    port: int

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask for an address as it stands, nothing about it made proper."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        reply = connection.getresponse()
        names = {name.lower(): value for name, value in reply.getheaders()}
        found = Answer(reply.status, names, reply.read().decode())
        connection.close()
        return found


@contextmanager
def serving(state: Path, *words: str, password: str = "") -> Iterator[Server]:
    """Serve on a free port until the block ends."""
    env = {**os.environ, "NOHYPE_STATE": str(state), "NOHYPE_SERVE_PASSWORD": password, "COLUMNS": "200"}
    env.pop("NOHYPE_DATABASE_URL", None)
    argv = [*NOHYPE, "--listen", "127.0.0.1:0", *words]
    process = subprocess.Popen(bound_to_us(argv), env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line + process.stderr.read()
        yield Server(process, int(found[1]))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
