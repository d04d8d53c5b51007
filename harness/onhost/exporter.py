"""Prometheus exporter of this host's guests, VM exits and virtual functions.

Every value is read when Prometheus asks; the exporter keeps nothing and changes nothing, so restarting it loses
nothing. Counters begin with the host's boot; a guest that has ended keeps its last values until the next boot.
What each metric means: catalogue.py.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from . import catalogue, counters, nohype, records, sriov, web
from .errors import AgentError
from .facts import stack_of
from .guests import vfs_in_use
from .system import ROOT, isa, lost_cpus, number, text


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
        histogram = counters.read(root, settled=False)
        flavour = isa(root)
        exits = catalogue.VM_EXITS.family()
        up = catalogue.GUEST_UP.family()
        start = catalogue.GUEST_START.family()
        engagement = catalogue.ENGAGEMENT.family()
        killed = catalogue.KILLED.family()
        icr_open = catalogue.ICR_OPEN.family()
        for loaded in records.load_all(root):
            if not loaded.ready:
                continue
            record = nohype.refreshed(loaded, root)
            labels = (record.stack, record.name)
            for state in filter(None, nohype.STATES if record.may_disengage else ()):
                engagement.add_metric((*labels, state), float(record.engagement.state == state))
            if record.engagement.cause:
                killed.add_metric((*labels, record.engagement.cause), 1.0)
            if record.may_disengage:
                icr_open.add_metric(labels, float(record.icr == "open"))
            up.add_metric(labels, float(records.is_running(record, root)))
            start.add_metric(labels, record.started_at)
            for vcpu, reason, count in counters.named(counters.rows_of(record, histogram), flavour):
                exits.add_metric((*labels, str(vcpu), str(reason)), float(count))
        yield exits
        yield up
        yield start
        yield engagement
        yield killed
        yield icr_open
        counting = catalogue.COUNTING.family()
        counting.add_metric((), float(histogram is not None))
        yield counting
        dropped = catalogue.DROPPED.family()
        dropped.add_metric((), float(histogram.dropped if histogram else 0))
        yield dropped

    def _functions(self) -> Iterator[Metric]:
        total = catalogue.VF_TOTAL.family()
        free = catalogue.VF_FREE.family()
        driver = sriov.guest_driver(self._root)
        for pf in sriov.physical_functions(self._root, guests=vfs_in_use(self._root), ask=sriov.ask_nothing):
            ready = [vf for vf in pf.vfs if vf.driver == driver]
            total.add_metric((pf.address,), len(ready))
            free.add_metric((pf.address,), sum(1 for vf in ready if not vf.guest))
        yield total
        yield free

    def _host(self) -> Iterator[Metric]:
        root = self._root
        total = catalogue.PAGES_TOTAL.family()
        free = catalogue.PAGES_FREE.family()
        for pool in sorted((root / "sys/kernel/mm/hugepages").glob("hugepages-*kB")):
            size = pool.name.removeprefix("hugepages-").removesuffix("kB")
            total.add_metric((size,), number(pool / "nr_hugepages"))
            free.add_metric((size,), number(pool / "free_hugepages"))
        yield total
        yield free
        lost = catalogue.LOST_CORES.family()
        lost.add_metric((), float(len(lost_cpus(root))))
        yield lost
        info = catalogue.HOST_INFO.family()
        kernel = text(root / "proc/sys/kernel/osrelease")
        boot = text(root / "proc/sys/kernel/random/boot_id")
        info.add_metric((stack_of(text(root / "proc/cmdline")), kernel, boot), 1.0)
        yield info


def serve(listen: str, root: Path = ROOT, *, web_config_file: str = "") -> None:
    """Serve on ADDRESS:PORT until the process is told to end. `web_config_file`: see web.py.

    Raises AgentError where it cannot.
    """
    config = web.web_config(_document(Path(web_config_file)), web_config_file) if web_config_file else web.WebConfig()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(HostCollector(root))
    with contextlib.suppress(SystemExit), web.server(listen, registry, config) as server:
        server.serve_forever()  # told to end, which is how a service ends well


def _document(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AgentError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except ValueError as error:
        raise AgentError(f"is not JSON: {error}", where=str(path)) from None
