"""A guest's serial console on this terminal."""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty
from pathlib import Path

from . import kvm
from .errors import AgentError
from .system import ROOT, on_xen

DETACH = b"\x1d"  # Ctrl-], as telnet has it


def attach(name: str, root: Path = ROOT) -> None:
    """Pass bytes between the terminal and the console until Ctrl-] or the guest's end. One user at a time."""
    if on_xen(root):
        os.execvp("xl", ["xl", "console", "-t", "pv", name])  # noqa: S606 - it leaves with Ctrl-] as well
    path = kvm.console_socket(name, root)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as console:
        try:
            console.connect(str(path))
        except OSError as error:
            raise AgentError(
                f"no console of guest {name!r}: {error.strerror}", where=str(path), fix="see: nohype-host guest list"
            ) from None
        if not sys.stdin.isatty():
            _pass_on(console)
            return
        before = termios.tcgetattr(sys.stdin)
        sys.stderr.write(f"console of {name}; Ctrl-] leaves\r\n")
        sys.stderr.flush()
        try:
            tty.setraw(sys.stdin)
            _pass_on(console)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
            sys.stderr.write("\n")


def _pass_on(console: socket.socket) -> None:
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    while True:
        ready, _, _ = select.select([console, keyboard], [], [])
        if console in ready:
            data = console.recv(65536)
            if not data:
                return
            os.write(screen, data)
        if keyboard in ready:
            keys = os.read(keyboard, 4096)
            head, found, _ = keys.partition(DETACH)
            console.sendall(head)
            if found or not keys:
                return
