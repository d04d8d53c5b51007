"""A conversation with a host's `nohype-host`: it stays up between questions, since its start takes longer than most."""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from harness.hosts.remote import RemoteCommand

AGENT = "nohype-host"
Start = Callable[[BinaryIO, BinaryIO], RemoteCommand]  # with its standard input and output


class AgentEnded(Exception):  # noqa: N818 - an event, not a fault of the caller
    """The agent ended instead of answering. Carries how."""

    def __init__(self, status: int, stderr: str) -> None:
        super().__init__(f"status {status}: {stderr}")
        self.status = status
        self.stderr = stderr


class _Lines(io.RawIOBase):
    """Takes what the agent prints, and gives it out by the line."""

    def __init__(self, lines: queue.Queue[bytes | None]) -> None:
        super().__init__()
        self._lines = lines
        self._rest = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        *whole, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in whole:
            self._lines.put(line)
        return len(data)


class AgentProcess:
    """One running agent. One question at a time."""

    def __init__(self, start: Start) -> None:
        """Raises what `start` raises."""
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._status = -1
        reading, writing = os.pipe()
        self._questions = os.fdopen(writing, "wb", buffering=0)
        try:
            # Unbuffered: each question has to leave as it comes.
            self.command = start(os.fdopen(reading, "rb", buffering=0), _Lines(self._lines))  # type: ignore[arg-type]
        except BaseException:
            self._questions.close()
            raise
        threading.Thread(target=self._watch, daemon=True).start()

    def ask(self, words: tuple[str, ...], payload: object, seconds: float) -> dict[str, Any]:
        """The agent's answer: {"result": ...} or {"error": ...}.

        Raises AgentEnded, ValueError for an answer that is not JSON, and queue.Empty when there is none in time.
        """
        question = json.dumps({"words": words, "payload": payload}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # it has ended: the empty answer tells
            self._questions.write(question)
        line = self._lines.get(timeout=seconds)
        if line is None:
            self._lines.put(None)
            raise AgentEnded(self._status, self.command.stderr.decode(errors="replace"))
        answer = json.loads(line)
        if not isinstance(answer, dict) or not answer.keys() & {"result", "error"}:
            raise ValueError(f"neither result nor error: {line[:200]!r}")
        return answer

    def close(self) -> None:
        """Let it end: it does at the end of its input."""
        self._questions.close()

    def _watch(self) -> None:
        status = self.command.wait(threading.TIMEOUT_MAX)
        self._status = -1 if status is None else status
        self._lines.put(None)
