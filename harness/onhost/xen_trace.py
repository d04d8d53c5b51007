"""Count VM exits in Xen's trace: bytes in, counts out.

The stream is what xentrace(8) writes; records are those of Xen's public header trace.h (xen/include/public/trace.h):
a word with the event in its low 28 bits, the number of extra words in the next 3 and in the top bit whether a 64-bit
time stamp follows; then the time stamp, then the extra words. Records of one physical CPU stand together behind a
record that names the CPU and the length of what follows. A VM exit tells its reason but not its guest: that is the
vCPU the scheduler had put on this CPU last, which its own records tell.
"""

from __future__ import annotations

import re
import struct
from collections import Counter

# The classes of events to ask xentrace for: HVM entries and exits, and the scheduler's changes of what runs.
EVENTS = 0x000A1000

_LOST_RECORDS = 0x0001F001  # how many; the vCPU that runs now
_CPU_CHANGE = 0x0001F003  # which CPU, and how many bytes follow
_RUNSTATE_CHANGE = 0x00021001  # old state << 8 | new state << 4 are part of the event; the vCPU
_RUNSTATE_MASK = 0x0FFFF00F
_CONTINUE_RUNNING = 0x00021002  # the vCPU
_RUNNING = 0
_WORD = struct.Struct("<I")

# Entries and exits are nearly all there is, and come in runs: the regular expression engine counts them much faster
# than a loop could. VMENTRY 0x81001; VMEXIT 0x81003 with a 32-bit and 0x81103 with a 64-bit instruction pointer.
_ENTRY = rb"\x01\x10\x08\x80.{8}"
_EXIT = rb"\x03(?:\x11\x08\xb0.{8}(.{4}).{8}|\x10\x08\xa0.{8}(.{4}).{4})"
_ONE = re.compile(rb"%s|%s" % (_ENTRY, _EXIT), re.DOTALL)
_RUN = re.compile(rb"(?:%s)+" % _ONE.pattern, re.DOTALL)

Key = tuple[int, int, int]  # domain, vCPU, exit code


class Decoder:
    """Counts as it is fed; pieces may end anywhere."""

    def __init__(self) -> None:
        self.counts: Counter[Key] = Counter()
        self.dropped = 0  # records Xen had no room for, and exits whose guest is not known
        self._rest = b""
        self._on: dict[int, tuple[int, int]] = {}  # physical CPU -> the domain and vCPU on it

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream. Raises ValueError where it is no trace."""
        stream = self._rest + data
        at = 0
        while len(stream) - at >= 12:
            event, cpu, size = struct.unpack_from("<III", stream, at)
            if event & 0x0FFFFFFF != _CPU_CHANGE:
                raise ValueError(f"record {event:#x} where Xen names a CPU")
            if len(stream) - at - 12 < size:
                break
            self._window(stream[at + 12 : at + 12 + size], cpu)
            at += 12 + size
        self._rest = stream[at:]

    def _window(self, window: bytes, cpu: int) -> None:
        at = 0
        while at < len(window):
            run = _RUN.match(window, at)
            if run:
                self._exits(window[at : run.end()], cpu)
                at = run.end()
            else:
                at = self._other(window, at, cpu)

    def _exits(self, run: bytes, cpu: int) -> None:
        found = Counter(a or b for a, b in _ONE.findall(run))
        del found[b""]  # entries
        if cpu not in self._on:
            self.dropped += found.total()
            return
        domain, vcpu = self._on[cpu]
        for code, count in found.items():
            self.counts[domain, vcpu, *_WORD.unpack(code)] += count

    def _other(self, window: bytes, at: int, cpu: int) -> int:
        """Take in one record of another kind; where the next one begins."""
        (head,) = _WORD.unpack_from(window, at)
        event, extras, stamped = head & 0x0FFFFFFF, head >> 28 & 7, head >> 31
        at += 4 + 8 * int(stamped)
        words = struct.unpack_from(f"<{extras}I", window, at)
        if event & _RUNSTATE_MASK == _RUNSTATE_CHANGE:
            if event >> 4 & 0xF == _RUNNING:
                self._runs(cpu, words[0])
        elif event == _CONTINUE_RUNNING:
            self._runs(cpu, words[0])
        elif event == _LOST_RECORDS:
            self.dropped += words[0]
            self._on[cpu] = (words[1] & 0xFFFF, words[1] >> 16)  # the other way round than the scheduler's
        return at + 4 * int(extras)

    def _runs(self, cpu: int, word: int) -> None:
        self._on[cpu] = (word >> 16, word & 0xFFFF)
