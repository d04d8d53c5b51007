"""Save a running host of the rack, and start it again from there in seconds instead of booting it."""

from __future__ import annotations

import re
import time

from harness.config import nearest
from harness.errors import HarnessError, InputError, UnavailableError
from harness.hosts.inventory import load_inventory
from harness.hosts.ssh import connect
from harness.onhost.errors import AgentError
from harness.onhost.qmp import Qmp
from harness.rack.control import Rack, await_ssh, disk_folders, power_off, power_on, power_state
from harness.rack.layout import Slot, rack_inventory

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def save(slot: Slot, name: str) -> None:
    """Save memory, devices and disk of a running host under `name`; an older snapshot of that name is replaced.

    The host pauses for about a second. Raises UnavailableError when it is off, InputError for a bad name.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"snapshot name {name!r}: letters a-z, digits and '-' only")
    if power_state(slot) == "off":
        raise UnavailableError("the host is off", where=slot.name, fix=f"nohype rack power {slot.name} on")
    answer = _monitor(slot, f"savevm {name}")
    if answer.strip():
        raise HarnessError(f"cannot be saved: {answer.strip()}", where=slot.name)


def restore(rack: Rack, slot: Slot, name: str) -> None:
    """Put a host back to where it was saved. Its clock is set to now; what ran since the snapshot is lost.

    Raises InputError for an unknown name, and what `connect` raises.
    """
    known = names(rack, slot)
    if name not in known:
        raise InputError(
            f"no snapshot {name!r} of {slot.name}{nearest(name, known)}",
            fix=f"nohype rack save {slot.name} {name}" if not known else f"snapshots: {', '.join(known)}",
        )
    if power_state(slot) == "on":
        power_off(rack, slot)
    slot.resume_file.write_text(name, encoding="ascii")
    power_on(rack, slot)
    await_ssh(slot)
    host = load_inventory(rack_inventory()).select(slot.name)[0]
    with connect(host) as session:
        # It woke with the time of its snapshot: Prometheus and TLS would not like that.
        session.run(["date", "--set", f"@{time.time():.3f}"], sudo=True)


def names(rack: Rack, slot: Slot) -> list[str]:
    """The host's snapshots, oldest first."""
    text = rack.tools.run(["qemu-img", "snapshot", "-U", "-l", str(slot.disk)], binds=disk_folders(slot))
    rows = [line.split() for line in text.splitlines()]
    return [row[1] for row in rows if len(row) > 2 and row[0].isdigit()]


def _monitor(slot: Slot, command: str) -> str:
    try:
        with Qmp(slot.monitor, seconds=120) as monitor:
            return str(monitor.execute("human-monitor-command", **{"command-line": command}))
    except (OSError, AgentError) as error:
        raise HarnessError(f"its QEMU does not answer: {error}", where=slot.name) from None
