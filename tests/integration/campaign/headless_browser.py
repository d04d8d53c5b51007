"""Headless Chromium, driven by its own DevTools protocol over a pipe: no driver, no further package.

Debian's chromium-headless-shell (about 40 s and 220 MB on a machine without it) is installed at first use.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from harness.paths import cache_dir
from harness.toolbox.cache import locked

PACKAGE = "chromium-headless-shell"
_PROGRAMS = (PACKAGE, "chromium", "google-chrome")
_REPLY_SECONDS = 60


def program() -> str:
    """A Chromium; skips the test where there can be none."""
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found:
        return found
    if os.geteuid() != 0:
        pytest.skip(f"no Chromium here, and installing {PACKAGE} needs root: sudo tests/run")
    with locked(cache_dir() / ".chromium.lock"):  # tests that run in parallel need it at the same time
        return shutil.which(PACKAGE) or _installed()


def _installed() -> str:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=env)
    known = subprocess.run(["apt-cache", "show", PACKAGE], capture_output=True, check=False).returncode == 0
    if not known and not os.environ.get("CI"):  # Ubuntu's Chromium is a snap
        pytest.skip(f"no package {PACKAGE} here; install any Chromium")
    argv = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", PACKAGE]
    subprocess.run(argv, check=True, env=env, stdout=subprocess.DEVNULL)
    return PACKAGE


class Browser:
    """One page of a browser of its own.

    `complaints` has what the page's console was told: errors of scripts, files that are missing, and whatever the
    content policy forbade. `asked` has every address that was fetched.
    """

    def __init__(self, profile: Path) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        (child_in, self._write), (self._read, child_out) = _pipe(), _pipe()
        # The protocol is spoken on the descriptors 3 and 4. As root it has no sandbox; it sees our own pages alone.
        argv = [program(), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        move = f'exec "$@" 3<&{child_in} 4>&{child_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", move, "bash", *argv, "--remote-debugging-pipe", "--no-first-run", "about:blank"],
            pass_fds=(child_in, child_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(child_in)
        os.close(child_out)
        self._buffer = b""
        self._number = 0
        self._events: deque[dict[str, Any]] = deque()
        self._session = ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)  # it ends with its pipe
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)

    def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """A command of the protocol, and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _REPLY_SECONDS
        while True:
            found = self._message(deadline, method)
            if found.get("id") == self._number:
                assert "error" not in found, f"{method}: {found['error']}"
                return dict(found["result"])
            self._note(found)

    def look(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Be a screen of that size and of a reader who prefers light or dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str) -> None:
        """Go there, until everything is loaded."""
        self._events.clear()
        self.send("Page.navigate", url=address)
        deadline = time.monotonic() + _REPLY_SECONDS
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._note(self._message(deadline, f"load {address}"))

    def ask(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, path: Path) -> None:
        """Of what is seen, as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def _message(self, deadline: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"the browser does not answer: {what}"
            added = os.read(self._read, 1 << 20)
            assert added, f"the browser has ended: {what}"
            self._buffer += added
        text, _, self._buffer = self._buffer.partition(b"\0")
        found = json.loads(text)
        assert isinstance(found, dict)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        match event["method"]:
            case "Log.entryAdded":
                entry = event["params"]["entry"]
                if entry["level"] in ("error", "warning"):
                    self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(event["params"]["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(event["params"]["args"]))
            case "Network.requestWillBeSent":
                self.asked.append(event["params"]["request"]["url"])


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are none of the low numbers that the browser's are moved to."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
