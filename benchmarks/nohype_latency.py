#!/usr/bin/env python3
"""How long do guests take to leave their hypervisor, to be killed, and to give their cores back?

Makes a guest, waits until it has left, kills it, destroys it, and starts over. The times are the host kernel's own,
from its trace. The host must be booted into stack nohype, and run no guests.

    .venv/bin/python benchmarks/nohype_latency.py rack1 --cycles 10 --vcpus 1
"""

from __future__ import annotations

import re
import secrets
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from harness import stacks
from harness.cli import guarded
from harness.cli.common import InventoryOption, JsonOption, one_host, out, print_json, step
from harness.errors import HarnessError, UnavailableError
from harness.guests import image, lifecycle
from harness.guests.model import Disengagement
from harness.hosts.discover import capabilities
from harness.hosts.ssh import connect
from harness.report import words

if TYPE_CHECKING:
    from harness.guests.model import GuestSpec
    from harness.hosts.ssh import HostSession

TRACING = "/sys/kernel/tracing"
INSTANCE = f"{TRACING}/instances/nohype-latency"  # a trace of its own: the exits' counters are not touched
# KVM_HC_NOHYPE_DISENGAGE and KVM_NOHYPE_KILL of the patched kernel's kvm_para.h and kvm.h.
HYPERCALL, KILL = 0x4E48, 0xAEE2
PROBES = "p:nohype_latency/ask kvm_nohype_vm_ioctl ioctl=$arg2:u32\nr:nohype_latency/done kvm_nohype_vm_ioctl\n"
EVENTS = {
    "kvm/kvm_hypercall": f"nr == {HYPERCALL}",
    "kvm/nohype_disengage": "",
    "nohype_latency/ask": f"ioctl == {KILL}",
    "nohype_latency/done": "",
    "cpuhp/cpuhp_exit": "",
}
_LINE = re.compile(r"^ *.*-(?P<thread>\d+) +\[\d+\] +\S+ +(?P<at>\d+\.\d+): (?P<event>\w+): (?P<text>.*)$")
_LENT = re.compile(r"has cpu (\d+)")
_PLUGGED = re.compile(r"cpu: (\d+) ")


@dataclass(frozen=True)
class Event:
    """A line of the trace; `at` in seconds."""

    at: float
    name: str
    thread: int
    text: str


@dataclass(frozen=True)
class Times:
    """Of one guest, in milliseconds."""

    leaving: float  # the first vCPU's hypercall until all cores have left Linux and run the guest
    killing: float  # the request until no core runs the guest any more
    reclaiming: float  # the request until the last core is online again


def parse(trace: str) -> list[Event]:
    """The events of a trace in the order of their times."""
    found = [line for line in map(_LINE.match, trace.splitlines()) if line]
    events = [Event(float(line["at"]), line["event"], int(line["thread"]), line["text"]) for line in found]
    return sorted(events, key=lambda event: event.at)


def times(events: Sequence[Event]) -> Times:
    """Raises HarnessError where an event is missing."""
    try:
        asked = next(event for event in events if event.name == "kvm_hypercall")
        left = [event for event in events if event.name == "nohype_disengage"]
        cores = {int(match[1]) for event in left if (match := _LENT.search(event.text))}
        kill = next(event for event in events if event.name == "ask")
        dead = next(
            event for event in events if event.name == "done" and event.thread == kill.thread and event.at > kill.at
        )
        plugged = [event for event in events if event.name == "cpuhp_exit" and event.at > kill.at]
        back = [event for event in plugged if (match := _PLUGGED.search(event.text)) and int(match[1]) in cores]
        ends = left[-1].at - asked.at, dead.at - kill.at, back[-1].at - kill.at
    except (StopIteration, IndexError):
        seen = ", ".join(sorted({event.name for event in events})) or "nothing"
        raise HarnessError(
            f"the kernel's trace lacks an event of the guest's life; it has {seen}", where=INSTANCE
        ) from None
    return Times(*(1000 * seconds for seconds in ends))


@contextmanager
def traced(session: HostSession) -> Iterator[None]:
    """The events above are traced, and nothing is left of that afterwards."""

    def put(path: str, content: str, *, check: bool = True) -> None:
        # Not by tee: the kernel refuses probes that come from it.
        argv = ["dd", f"of={path}", "conv=notrunc", "oflag=append", "status=none"]
        session.run(argv, stdin=content, sudo=True, check=check)

    def clear() -> None:
        session.run(["rmdir", INSTANCE], sudo=True, check=False)
        for probe in ("ask", "done"):
            put(f"{TRACING}/kprobe_events", f"-:nohype_latency/{probe}\n", check=False)

    clear()  # a killed run may have left it
    session.run(["mkdir", INSTANCE], sudo=True)
    try:
        put(f"{TRACING}/kprobe_events", PROBES)
        put(f"{INSTANCE}/trace_clock", "mono")  # one for all cores
        for event, condition in EVENTS.items():
            if condition:
                put(f"{INSTANCE}/events/{event}/filter", condition)
            put(f"{INSTANCE}/events/{event}/enable", "1")
        yield
    finally:
        clear()


def cycle(session: HostSession, spec: GuestSpec, wait: float) -> Times:
    """One guest from its creation to its end."""
    session.run(["dd", "if=/dev/null", f"of={INSTANCE}/trace", "status=none"], sudo=True)  # opening it so empties it
    guest = lifecycle.create(session, spec)
    try:
        lifecycle.await_ssh(session, guest, wait)
        lifecycle.check_disengaged(session, guest)
        lifecycle.kill(session, guest.name)
    finally:
        lifecycle.destroy(session, guest.name)  # which waits for its cores
    return times(parse(session.run(["cat", f"{INSTANCE}/trace"], sudo=True).stdout))


def main(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host of the inventory, booted into stack nohype.")],
    cycles: Annotated[int, typer.Option(min=1, help="Guests, one after the other.")] = 10,
    vcpus: Annotated[int, typer.Option(min=1, help="Of each guest; several: icr open, which is unsafe.")] = 1,
    memory: Annotated[int, typer.Option(min=64, metavar="MIB", help="Of each guest.")] = 256,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="How long a guest may take to boot.")] = 600,
    inventory: InventoryOption = None,
    json: JsonOption = False,
) -> None:
    """Time how guests leave their hypervisor, are killed, and give their cores back, by the host's own clock."""
    target = one_host(host, inventory)
    measured: list[Times] = []
    with connect(target) as session:
        able = capabilities(session)
        if able.stack != "nohype":
            fix = f"nohype hosts boot {session.host_name} --stack nohype"
            raise UnavailableError("the host was not booted into stack nohype", where=session.host_name, fix=fix)
        name = f"latency-{secrets.token_hex(3)}"  # a guest's name is used once in a boot of its host
        wish = Disengagement("open" if vcpus > 1 else "closed")
        spec = stacks.get("nohype").guest_spec(name, vcpus, memory, image.current().digest, able, frozenset(), wish)
        with traced(session):
            for number in range(cycles):
                with step(f"guest {number + 1} of {cycles}"):
                    measured.append(cycle(session, replace(spec, name=f"{name}-{number}"), wait))
    if json:
        print_json({"host": host, "fidelity": target.fidelity, "vcpus": vcpus, "times_ms": measured})
        return
    title = f"{words.count(cycles, 'guest')} of {words.count(vcpus, 'vCPU')}, {target.fidelity}"
    table = Table("milliseconds", "median", "least", "most", title=title)
    for field in fields(Times):
        values = [getattr(one, field.name) for one in measured]
        table.add_row(
            field.name, *(words.number(each) for each in (statistics.median(values), min(values), max(values)))
        )
    out.print(table)


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
