"""Which modules hosts have loaded: what a kernel made for them must have."""

from __future__ import annotations

import re

from harness.errors import HarnessError
from harness.hosts.ssh import HostSession

_LIST = "/proc/modules"
_LINE = re.compile(r"(\w+) \d+ ")  # name, size; proc_modules(5)


def loaded(session: HostSession) -> frozenset[str]:
    """Names of the modules that the host has loaded now. Raises HarnessError where it cannot be told."""
    lines = (_LINE.match(line) for line in session.run(["cat", _LIST]).stdout.splitlines())
    names = frozenset(line[1] for line in lines if line)
    if not names:
        raise HarnessError(
            "the host has no module loaded, so its list says nothing of its drivers",
            where=f"{session.host_name}:{_LIST}",
            fix="boot it into Debian's kernel first, or make the package for all hosts: nohype kernel package",
        )
    return names
