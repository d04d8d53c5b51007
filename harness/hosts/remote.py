"""One command running on the other side of an SSH connection."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import paramiko

from harness.errors import DeadlineError
from harness.wait import until

_CHUNK = 65536
_SHOWN_LINES = 5
_SHOWN_CHARACTERS = 120
_PID = re.compile(rb"nohype-pid:(\d+)\n")
_DRAIN_SECONDS = 5.0  # a child that lives on may hold the output open after the command's end
_PATIENCE_SECONDS = 5.0  # between TERM and KILL


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. `seconds` is wall time seen from here; exit code -1 means killed by a signal."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    seconds: float


class RemoteCommand:
    """Starts `argv` and collects its output in the background.

    The login shell tells its process id, which sshd has made a session's and group's leader, and then becomes the
    command: so the whole group can be killed from a second channel (a closed channel alone leaves it running).
    """

    def __init__(
        self,
        transport: paramiko.Transport,
        argv: Sequence[str],
        *,
        stdin: BinaryIO | None = None,
        stdout: BinaryIO | None = None,
    ) -> None:
        """`stdin` is sent and then closed; `stdout`, if given, takes the output instead of memory.

        Raises paramiko's exceptions and OSError.
        """
        self._transport = transport
        self._stdout = stdout or io.BytesIO()
        self._stderr = io.BytesIO()
        self._broken: Exception | None = None
        self._channel = transport.open_session()
        self._channel.exec_command(f"echo nohype-pid:$$ >&2; exec {shlex.join(argv)}")
        self._readers = [
            self._thread(self._read, self._channel.recv, self._stdout),
            self._thread(self._read, self._channel.recv_stderr, self._stderr),
        ]
        if stdin is None:
            self._channel.shutdown_write()
        else:
            self._thread(self._send, stdin)

    def wait(self, seconds: float) -> int | None:
        """The exit status, or None when still running after `seconds`; -1: killed by a signal or connection lost."""
        if not self._channel.status_event.wait(max(seconds, 0)):
            return None
        deadline = time.monotonic() + _DRAIN_SECONDS
        for reader in self._readers:
            reader.join(max(deadline - time.monotonic(), 0))
        status = self._channel.exit_status
        self._channel.close()
        if self._broken:
            raise self._broken
        return status

    @property
    def stdout(self) -> bytes:
        return self._stdout.getvalue() if isinstance(self._stdout, io.BytesIO) else b""

    @property
    def stderr(self) -> bytes:
        return _PID.sub(b"", self._stderr.getvalue(), count=1)

    def kill(self, *, become_root: bool) -> bool:
        """End the command's process group: TERM, then KILL. False when it could not be ended."""
        found = self._process_id()
        prefix = ["sudo", "-n", "--"] if become_root else []
        for signal in ("-TERM", "-KILL") if found else ():
            assert found is not None
            with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
                argv = [*prefix, "kill", signal, "--", f"-{found.group(1).decode()}"]
                RemoteCommand(self._transport, argv).wait(_PATIENCE_SECONDS)
            if self._channel.status_event.wait(_PATIENCE_SECONDS):
                break
        ended = self._channel.status_event.is_set()
        self._channel.close()
        return ended

    def _process_id(self) -> re.Match[bytes] | None:
        """Where the shell told its process id, awaited: a command may have to end before its first word is here."""
        with contextlib.suppress(DeadlineError):
            until(
                lambda: _PID.search(self._stderr.getvalue()) or self._channel.status_event.is_set(),
                seconds=_PATIENCE_SECONDS,
                what="the command's process id",
                interval=0.02,
            )
        return _PID.search(self._stderr.getvalue())

    def _thread(self, target: object, *arguments: object) -> threading.Thread:
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        return thread

    def _read(self, receive: object, sink: BinaryIO) -> None:
        assert callable(receive)
        with contextlib.suppress(paramiko.SSHException, EOFError, TimeoutError):
            while data := receive(_CHUNK):
                try:
                    sink.write(data)
                except OSError as error:  # the disk is full: say so, and do not leave the other side waiting
                    self._broken = error
                    self._channel.close()
                    return

    def _send(self, source: BinaryIO) -> None:
        # A command may end without reading all it is sent; that is its own affair, its status tells.
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            while data := source.read(_CHUNK):
                self._channel.sendall(data)
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.shutdown_write()


def shown(argv: Sequence[str]) -> str:
    """A command as errors show it."""
    text = shlex.join(argv).replace("\n", " ")
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def tail(text: str) -> str:
    """The last lines of an output as errors show them."""
    return " | ".join(line.strip() for line in text.splitlines()[-_SHOWN_LINES:] if line.strip())
