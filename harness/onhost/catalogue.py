"""The metrics that a host's exporter serves, as data. Their names, labels and help stand here and nowhere else."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Family = CounterMetricFamily | GaugeMetricFamily


class Metric(NamedTuple):
    """One metric. `bound` says in words what limits its series, for each instance that serves it."""

    name: str  # as Prometheus shows it: counters end in _total
    kind: str  # counter | gauge
    labels: tuple[str, ...]
    unit: str  # "" for plain numbers
    help: str
    bound: str

    def family(self) -> Family:
        """Empty, to be filled by `add_metric`."""
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        return kind(self.name, self.help, labels=self.labels)


_GUESTS = "guests since boot"

VM_EXITS = Metric(
    "nohype_vm_exits_total",
    "counter",
    ("stack", "guest", "vcpu", "reason"),
    "exits",
    "VM exits by reason, the CPU vendor's name of it. Counted from the guest's start",
    f"{_GUESTS} x vCPUs x reasons that occurred; the kernel's table holds 4096",
)
GUEST_UP = Metric(
    "nohype_guest_up",
    "gauge",
    ("stack", "guest"),
    "",
    "1 while the guest runs, 0 after its end",
    _GUESTS,
)
GUEST_START = Metric(
    "nohype_guest_start_time_seconds",
    "gauge",
    ("stack", "guest"),
    "seconds",
    "When the guest's vCPUs began to run, Unix time",
    _GUESTS,
)
ENGAGEMENT = Metric(
    "nohype_guest_engagement",
    "gauge",
    ("stack", "guest", "state"),
    "",
    "Of guests that may leave their hypervisor: 1 for the state each is in, 0 for the others of engaged, disengaged "
    "and killed",
    f"3 x {_GUESTS} of stack nohype",
)
KILLED = Metric(
    "nohype_guest_killed",
    "gauge",
    ("stack", "guest", "cause"),
    "",
    "1 for each killed guest, with the cause: exit, asked, memory, torn down; deadline and refused where it had not "
    "left its hypervisor",
    f"{_GUESTS} of stack nohype",
)
ICR_OPEN = Metric(
    "nohype_guest_icr_open",
    "gauge",
    ("stack", "guest"),
    "",
    "Of guests that may leave their hypervisor: 1 where the ICR is open, which is unsafe, for such a guest can reset "
    "its host; 0 where it is closed",
    f"{_GUESTS} of stack nohype",
)
COUNTING = Metric("nohype_exit_counting", "gauge", (), "", "1 while the kernel counts VM exits", "1")
DROPPED = Metric(
    "nohype_vm_exits_dropped_total",
    "counter",
    (),
    "exits",
    "VM exits the kernel's table had no room for. Must be 0",
    "1",
)
VF_TOTAL = Metric("nohype_vfs", "gauge", ("pf",), "", "Virtual functions that guests may have", "physical functions")
VF_FREE = Metric("nohype_vfs_free", "gauge", ("pf",), "", "Virtual functions that no guest has", "physical functions")
PAGES_TOTAL = Metric("nohype_hugepages", "gauge", ("size_kib",), "pages", "Preallocated pages", "page sizes, 2")
PAGES_FREE = Metric(
    "nohype_hugepages_free", "gauge", ("size_kib",), "pages", "Preallocated pages not in use", "page sizes, 2"
)
LOST_CORES = Metric(
    "nohype_host_lost_cores",
    "gauge",
    (),
    "",
    "Cores that were not confirmed to have left a guest without hypervisor. Must be 0; until the host reboots they and "
    "the guest's memory are nobody's",
    "1",
)
HOST_INFO = Metric(
    "nohype_host_info", "gauge", ("stack", "kernel", "boot_id"), "", "1. Its labels tell which boot this is", "1"
)

HOST_METRICS = (
    VM_EXITS,
    GUEST_UP,
    GUEST_START,
    ENGAGEMENT,
    KILLED,
    ICR_OPEN,
    COUNTING,
    DROPPED,
    VF_TOTAL,
    VF_FREE,
    PAGES_TOTAL,
    PAGES_FREE,
    LOST_CORES,
    HOST_INFO,
)
