"""Host and guest: are hosts well, what is booted, what runs on them, and what is left?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import units

from dashboards import house as h

_HOSTS = 'host=~"$host"'


def dashboard() -> Dashboard:
    """The hosts chosen above."""
    killed = f'nohype_guest_engagement{{{_HOSTS}, state="killed"}} * 2'
    disengaged = f'nohype_guest_engagement{{{_HOSTS}, state="disengaged"}}'
    return (
        h.dashboard("nohype-host", "NoHype / Host and guest", "Health of hosts, and the guests on them.", "now-6h")
        .with_variable(h.variable("host", "Host", "label_values(nohype_host_info, host)"))
        .with_panel(
            h.states(
                "Exporters",
                "Whether each host's exporter answered Prometheus. Hosts are silent while they boot.",
                {0: ("silent", h.BAD), 1: ("answers", h.GOOD)},
                h.series(f'max by (host) (up{{job="nohype", {_HOSTS}}})', "{{host}}"),
            )
        )
        .with_panel(
            h.states(
                "Booted stacks",
                "Which stack each host was booted into, when.",
                {1: ("booted", "blue")},
                h.series(f"max by (host, stack) (nohype_host_info{{{_HOSTS}}})", "{{host}} {{stack}}"),
            )
        )
        .with_panel(
            h.lines(
                "Running guests",
                "Guests whose QEMU runs, by host and stack.",
                units.Short,
                h.series(f"sum by (host, stack) (nohype_guest_up{{{_HOSTS}}})", "{{host}} {{stack}}"),
            ).min(0)
        )
        .with_panel(
            h.states(
                "Engagement of guests",
                "Of guests of stack nohype: engaged with a hypervisor still, disengaged from it, or killed.",
                {0: ("engaged", "blue"), 1: ("disengaged", h.GOOD), 2: ("killed", h.BAD)},
                h.series(f"max by (host, guest) ({disengaged} or {killed})", "{{host}} {{guest}}"),
            )
        )
        .with_panel(
            h.gauges(
                "Virtual functions in use",
                "Share of the virtual functions bound to vfio-pci that guests have.",
                units.PercentUnit,
                h.now(
                    f"1 - sum by (host) (nohype_vfs_free{{{_HOSTS}}}) / sum by (host) (nohype_vfs{{{_HOSTS}}} > 0)",
                    "{{host}}",
                ),
            )
            .max(1)
            .span(8)
        )
        .with_panel(
            h.gauges(
                "Hugepages in use",
                "Share of the preallocated pages that guests have.",
                units.PercentUnit,
                h.now(
                    f"1 - sum by (host, size_kib) (nohype_hugepages_free{{{_HOSTS}}}) / "
                    f"sum by (host, size_kib) (nohype_hugepages{{{_HOSTS}}} > 0)",
                    "{{host}} {{size_kib}} KiB",
                ),
            )
            .max(1)
            .span(8)
        )
        .with_panel(
            h.lines(
                "Exits not counted",
                "VM exits for which the kernel's table had no room. Must be 0: figures are wrong otherwise.",
                units.CountsPerSecond,
                h.series(
                    f"sum by (host) (rate(nohype_vm_exits_dropped_total{{{_HOSTS}}}[$__rate_interval]))", "{{host}}"
                ),
            )
            .min(0)
            .span(8)
        )
    )
