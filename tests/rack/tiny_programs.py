"""Programs of a few instructions for guests that have no compiler."""

from __future__ import annotations

import base64
import shlex
import struct

from harness.hosts.ssh import HostSession

_ADDRESS = 0x400000
# What any user of a guest may execute, in machine code (AMD64 Architecture Programmer's Manual, volume 3), and the
# signal by which Linux ends the program, since the guest has neither a hypervisor nor anything to step it.
SIGILL, SIGTRAP = 4, 5
UNPRIVILEGED = {
    "vmmcall": (bytes.fromhex("0f01d9"), SIGILL),
    "rsm": (bytes.fromhex("0faa"), SIGILL),
    "int1": (bytes.fromhex("f1"), SIGTRAP),
    # pushf; or dword [rsp], 0x100 (EFLAGS.TF); popf; nop
    "single-step": (bytes.fromhex("9c810c24000100009d90"), SIGTRAP),
    # The same with EFLAGS.AC, then a read that is not aligned, and exit(0): no fault, for CR0.AM is clear.
    "unaligned": (bytes.fromhex("9c810c24000004009d488b442401b83c00000031ff0f05"), 0),
}


def elf(code: bytes) -> bytes:
    """An executable for Linux on x86-64 (elf(5)): one segment with `code`, entered at its first byte."""
    header = 64 + 56
    size = header + len(code)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    file = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _ADDRESS + header, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x1000)
    return identity + file + segment + code


def run_unprivileged(guest: HostSession, name: str) -> int:
    """Run one as nobody in the guest; the exit code, 128 and the signal's number where one ended it."""
    code, _ = UNPRIVILEGED[name]
    path = f"/tmp/{name}"
    encoded = base64.b64encode(elf(code)).decode()
    script = f"base64 -d >{path} && chmod 755 {path} && su -s /bin/sh nobody -c {shlex.quote(path)}"
    return guest.run(["sh", "-c", script], stdin=encoded, check=False).exit_code
