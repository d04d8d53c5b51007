"""A host's serial console, by its BMC."""

from __future__ import annotations

import os
import subprocess

from harness.errors import UnavailableError
from harness.hosts.model import Host
from harness.hosts.power import ipmitool


def attach(host: Host) -> int:
    """Connect this terminal to the host's serial console (serial-over-LAN) until `~.`; the client's exit status.

    Raises UnavailableError where the host has no BMC that can do it.
    """
    if host.bmc is None or host.bmc.kind != "ipmi":
        raise UnavailableError(
            "no console: the host has no IPMI BMC", where=host.name, fix="give the host nohype_bmc in the inventory"
        )
    argv, environment = ipmitool(host.name, host.bmc, "sol", "activate")
    try:
        return subprocess.run(argv, env={**os.environ, **environment}, check=False).returncode
    except FileNotFoundError:
        raise UnavailableError("program 'ipmitool' is not installed", fix="sudo apt-get install ipmitool") from None
