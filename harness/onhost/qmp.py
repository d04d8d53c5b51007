"""QEMU Machine Protocol, the little of it needed here (QEMU's docs/interop/qmp-spec)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import AgentError


class Qmp:
    """A QMP connection, ready for commands. Raises AgentError when QEMU goes away or stays silent."""

    def __init__(self, path: Path, *, seconds: float) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("r", encoding="utf-8")

    def __enter__(self) -> Qmp:
        self._read("QMP")  # the greeting; QEMU sends it when the machine is built, guest memory included
        self.execute("qmp_capabilities")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._socket.close()

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a command and return its result; events that come in between are skipped."""
        try:
            self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        except OSError as error:
            raise AgentError(f"QEMU does not listen: {error.strerror}", where=str(self._path)) from None
        return self._read("return")

    def vcpu_threads(self) -> tuple[int, ...]:
        """Thread id of each vCPU, in order of the vCPUs."""
        cpus = sorted(self.execute("query-cpus-fast"), key=lambda cpu: int(cpu["cpu-index"]))
        return tuple(int(cpu["thread-id"]) for cpu in cpus)

    def _read(self, key: str) -> Any:
        while True:
            try:
                line = self._file.readline()
            except TimeoutError:
                raise AgentError("QEMU did not answer in time", where=str(self._path)) from None
            except OSError as error:
                raise AgentError(f"QEMU went away: {error.strerror}", where=str(self._path)) from None
            if not line:
                raise AgentError("QEMU ended", where=str(self._path))
            message = json.loads(line)
            if "error" in message:
                raise AgentError(f"QEMU refuses: {message['error'].get('desc')}", where=str(self._path))
            if key in message:
                return message[key]
