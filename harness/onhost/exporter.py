"""Prometheus exporter of this host's guests, VM exits and virtual functions.

Every value is read when Prometheus asks; the exporter keeps nothing and changes nothing, so restarting it loses
nothing. Counters begin with the host's boot; a guest that has ended keeps its last values until the next boot.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
| nohype_vm_exits_total | counter | stack, guest, vcpu, reason | VM exits, reason by the CPU vendor's manual |
| nohype_guest_up | gauge | stack, guest | 1 while the guest's QEMU runs, 0 after its end |
| nohype_guest_start_time_seconds | gauge | stack, guest | when its vCPUs began to run, Unix time |
| nohype_exit_counting | gauge | | 1 while the kernel counts exits |
| nohype_exit_counter_dropped_total | counter | | exits the kernel's table had no room for: must be 0 |
| nohype_vf_total, nohype_vf_free | gauge | pf | VFs bound to vfio-pci, and those no guest has |
| nohype_hugepages_total, nohype_hugepages_free | gauge | size_kib | preallocated pages |
| nohype_host_info | gauge | stack, kernel, boot_id | 1; which boot this is |
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from . import counters, records, sriov
from .errors import AgentError
from .facts import stack_of
from .guests import vfs_in_use
from .system import ROOT, isa, number, text


class HostCollector(Collector):
    """Reads the host afresh for each scrape."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    def collect(self) -> Iterator[Metric]:
        yield from self._guests()
        yield from self._functions()
        yield from self._host()

    def _guests(self) -> Iterator[Metric]:
        root = self._root
        # Records after counters: a guest begun in between shows late, never with another guest's exits.
        histogram = counters.read(root)
        flavour = isa(root)
        exits = CounterMetricFamily(
            "nohype_vm_exits", "VM exits by reason", labels=("stack", "guest", "vcpu", "reason")
        )
        up = GaugeMetricFamily("nohype_guest_up", "Whether the guest runs", labels=("stack", "guest"))
        start = GaugeMetricFamily("nohype_guest_start_time_seconds", "Start of the guest", labels=("stack", "guest"))
        for record in records.load_all(root):
            if not record.ready:
                continue
            labels = (record.stack, record.name)
            up.add_metric(labels, float(records.is_running(record, root)))
            start.add_metric(labels, record.started_at)
            for vcpu, reason, count in counters.named(counters.rows_of(record, histogram), flavour):
                exits.add_metric((*labels, str(vcpu), str(reason)), float(count))
        yield exits
        yield up
        yield start
        counting = GaugeMetricFamily("nohype_exit_counting", "Whether the kernel counts VM exits")
        counting.add_metric((), float(histogram is not None))
        yield counting
        dropped = CounterMetricFamily("nohype_exit_counter_dropped", "VM exits the kernel had no room to count")
        dropped.add_metric((), float(histogram.dropped if histogram else 0))
        yield dropped

    def _functions(self) -> Iterator[Metric]:
        total = GaugeMetricFamily("nohype_vf_total", "Virtual functions bound to vfio-pci", labels=("pf",))
        free = GaugeMetricFamily("nohype_vf_free", "Virtual functions no guest has", labels=("pf",))
        for pf in sriov.physical_functions(self._root, guests=vfs_in_use(self._root), ask=sriov.ask_nothing):
            ready = [vf for vf in pf.vfs if vf.driver == "vfio-pci"]
            total.add_metric((pf.address,), len(ready))
            free.add_metric((pf.address,), sum(1 for vf in ready if not vf.guest))
        yield total
        yield free

    def _host(self) -> Iterator[Metric]:
        root = self._root
        total = GaugeMetricFamily("nohype_hugepages_total", "Preallocated huge pages", labels=("size_kib",))
        free = GaugeMetricFamily("nohype_hugepages_free", "Huge pages not in use", labels=("size_kib",))
        for pool in sorted((root / "sys/kernel/mm/hugepages").glob("hugepages-*kB")):
            size = pool.name.removeprefix("hugepages-").removesuffix("kB")
            total.add_metric((size,), number(pool / "nr_hugepages"))
            free.add_metric((size,), number(pool / "free_hugepages"))
        yield total
        yield free
        info = GaugeMetricFamily("nohype_host_info", "Which boot this is", labels=("stack", "kernel", "boot_id"))
        kernel = text(root / "proc/sys/kernel/osrelease")
        boot = text(root / "proc/sys/kernel/random/boot_id")
        info.add_metric((stack_of(text(root / "proc/cmdline")), kernel, boot), 1.0)
        yield info


def serve(listen: str, root: Path = ROOT) -> None:
    """Serve on ADDRESS:PORT until the process is told to end."""
    address, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise AgentError(f"{listen!r} is not ADDRESS:PORT", where="--listen", fix="for example 127.0.0.1:9177")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(HostCollector(root))
    try:
        _, thread = start_http_server(int(port), addr=address.strip("[]") or "0.0.0.0", registry=registry)  # noqa: S104
    except OSError as error:
        raise AgentError(f"cannot listen: {error.strerror}", where=listen) from None
    with contextlib.suppress(SystemExit):  # told to end, which is how a service ends well
        thread.join()
