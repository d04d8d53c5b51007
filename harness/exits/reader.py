"""Read a host's exit counters over SSH."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import HostError
from harness.exits.model import ExitReading
from harness.results.model import ExitCount

if TYPE_CHECKING:
    from harness.hosts.ssh import HostSession


def read(session: HostSession) -> ExitReading:
    """The counters of every guest since the host's boot, ended guests included.

    Raises HostError where the host does not count (it was not provisioned) or answers something else.
    """
    return parse(session.agent("exits"), session.host_name)


def parse(document: object, where: str) -> ExitReading:
    """The reading in what `nohype-host exits` printed."""
    try:
        if not isinstance(document, dict):
            raise TypeError("no JSON object")
        guests = {
            str(name): tuple(ExitCount(int(vcpu), str(reason), int(count)) for vcpu, reason, count in rows)
            for name, rows in document["guests"].items()
        }
        return ExitReading(float(document["taken_at"]), int(document["dropped"]), guests)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HostError(
            f"exit counters cannot be understood ({type(error).__name__}: {error})",
            where=where,
            fix="the host's nohype-host is of another version; provision the host again",
        ) from None
