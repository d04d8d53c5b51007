"""VM exit counters. KVM: a hist trigger on kvm:kvm_exit adds up in the kernel, by thread, vCPU and reason.

On Xen a service does the same (`xen_counters`), by domain, vCPU and reason.

Kernel documentation: Documentation/trace/histogram.rst. Nothing is streamed; reading does not disturb the counting.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from . import nohype, reasons, records, xen_counters
from .errors import AgentError
from .records import Histogram, Record, Row
from .system import ROOT, isa, on_xen, run, text

KEYS = "common_pid,vcpu_id,exit_reason"
# 4096 rows: about 25 reasons a vCPU, so some 160 vCPUs in one boot. `Dropped` tells when it was too small.
TRIGGER = f"hist:keys={KEYS}:size=4096"

_ENTRY = re.compile(r"\{ common_pid: +(-?\d+), vcpu_id: +(\d+), exit_reason: +(\d+) +\} hitcount: +(\d+)")
_DROPPED = re.compile(r"^ +Dropped: +(\d+)", re.MULTILINE)


def parse(content: str) -> Histogram | None:
    """Read the text of a `hist` file; None where our trigger is not in it.

    Several hist triggers of one event follow each other in the file; only ours is taken.
    """
    for section in content.split("# event histogram")[1:]:
        if f"hist:keys={KEYS}:" not in section:
            continue
        counts = {
            (int(thread), int(vcpu), int(code)): int(count) for thread, vcpu, code, count in _ENTRY.findall(section)
        }
        dropped = _DROPPED.search(section)
        if dropped is None:
            raise AgentError("the kernel's histogram has no totals", where="events/kvm/kvm_exit/hist")
        return Histogram(counts, int(dropped.group(1)))
    return None


def event_folder(root: Path = ROOT) -> Path:
    """The trace event's folder; it exists while the kvm module is loaded."""
    for mount in ("sys/kernel/tracing", "sys/kernel/debug/tracing"):
        if (root / mount / "events").is_dir():
            return root / mount / "events/kvm/kvm_exit"
    raise AgentError(
        "tracefs is not mounted", where="/sys/kernel/tracing", fix="mount -t tracefs none /sys/kernel/tracing"
    )


def read(root: Path = ROOT, *, settled: bool = True) -> Histogram | None:
    """The counters now; None where they are not set up. On Xen the latest moments may lack unless `settled`."""
    if on_xen(root):
        return xen_counters.read(root, settled=settled)
    try:
        content = (event_folder(root) / "hist").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    return parse(content)


def setup(root: Path = ROOT) -> dict[str, object]:
    """Load KVM and begin to count, if that was not done. Other triggers of the event stay."""
    if on_xen(root):
        return xen_counters.setup(root)
    if not event_folder(root).is_dir():
        flag = isa(root)
        if not flag:
            raise AgentError(
                "the CPU offers neither SVM nor VMX",
                where="/proc/cpuinfo",
                fix="switch virtualization on in the firmware's setup",
            )
        run(["modprobe", "kvm_amd" if flag == "svm" else "kvm_intel"])
    trigger = event_folder(root) / "trigger"
    if is_set_up(root):
        return {"changed": False, "trigger": TRIGGER}
    try:
        with trigger.open("a", encoding="ascii") as file:  # append: a plain write would remove other triggers
            file.write(TRIGGER + "\n")
    except OSError as error:
        raise AgentError(
            f"the kernel refuses the hist trigger: {error.strerror}",
            where=str(trigger),
            fix="the kernel needs CONFIG_HIST_TRIGGERS; see error_log in tracefs",
        ) from None
    return {"changed": True, "trigger": TRIGGER}


def remove(root: Path = ROOT) -> dict[str, object]:
    """Stop counting and forget the counts: for measuring what counting costs. Other triggers stay."""
    if on_xen(root):
        raise AgentError("on Xen a service counts", fix="systemctl stop nohype-xen-counters.service")
    if not is_set_up(root):
        return {"changed": False}
    with (event_folder(root) / "trigger").open("a", encoding="ascii") as file:
        file.write(f"!{TRIGGER}\n")
    return {"changed": True}


def is_set_up(root: Path = ROOT) -> bool:
    lines = text(event_folder(root) / "trigger").splitlines()
    return any(line.startswith(f"hist:keys={KEYS}:") for line in lines)


def rows_of(record: Record, histogram: Histogram | None) -> tuple[Row, ...]:
    """The exits of one guest, the one that may have ended it without hypervisor included.

    A guest that has ended has its own final rows: its thread ids may have new owners.
    """
    if record.stopped or histogram is None:
        return record.final
    base = {row[:3]: row[3] for row in record.base}
    threads = {record.domain} if record.domain else set(record.vcpu_threads)
    rows = []
    for key, count in sorted(histogram.counts.items()):
        if key[0] in threads and count > base.get(key, 0):
            rows.append((*key, count - base.get(key, 0)))
    return (*rows, *record.stub)


def named(rows: tuple[Row, ...], flavour: str) -> list[list[int | str]]:
    """[[vcpu, reason, count], ...], sorted; codes of one name are added up. `flavour` is "svm" or "vmx"."""
    counts: dict[tuple[int, str], int] = {}
    for _, vcpu, code, count in rows:
        key = (vcpu, reasons.name(flavour, code))
        counts[key] = counts.get(key, 0) + count
    return [[vcpu, reason, count] for (vcpu, reason), count in sorted(counts.items())]


def reading(root: Path = ROOT) -> dict[str, object]:
    """Every guest's counters of this boot. Raises AgentError where nothing counts."""
    histogram = read(root)
    taken_at = time.monotonic()
    if histogram is None:
        raise AgentError(
            "VM exits are not being counted",
            where="events/kvm/kvm_exit/hist",
            fix="systemctl start nohype-counters.service (or: nohype-host counters setup)",
        )
    flavour = isa(root)
    known = [nohype.refreshed(record, root) for record in records.load_all(root) if record.ready]
    guests = {record.name: named(rows_of(record, histogram), flavour) for record in known}
    return {"taken_at": taken_at, "dropped": histogram.dropped, "guests": guests}
