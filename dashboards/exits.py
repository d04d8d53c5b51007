"""VM exits: which guests make them, for which reasons, and how do the stacks compare right now?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import StackingMode

from dashboards import house as h

_GUESTS = 'host=~"$host", stack=~"$stack", guest=~"$guest"'
_RATE = f"rate(nohype_vm_exits_total{{{_GUESTS}}}[$__rate_interval])"


def dashboard() -> Dashboard:
    """Live exits of the hosts' guests."""
    guests = f"count by (stack) (nohype_guest_up{{{_GUESTS}}} == 1)"
    return (
        h.dashboard("nohype-exits", "NoHype / VM exits", "VM exits of guests as hosts count them.", "now-1h")
        .with_variable(h.variable("host", "Host", "label_values(nohype_guest_up, host)"))
        .with_variable(h.variable("stack", "Stack", 'label_values(nohype_guest_up{host=~"$host"}, stack)'))
        .with_variable(
            h.variable("guest", "Guest", 'label_values(nohype_guest_up{host=~"$host", stack=~"$stack"}, guest)')
        )
        .with_panel(
            h.lines(
                "Stacks side by side",
                "VM exits per second and running guest, by stack. A guest without hypervisor makes none.",
                units.CountsPerSecond,
                h.series(f"sum by (stack) ({_RATE}) / {guests}", "{{stack}}"),
            )
        )
        .with_panel(
            h.lines(
                "By reason",
                "VM exits per second of all chosen guests, by the CPU vendor's exit reason.",
                units.CountsPerSecond,
                h.series(f"sum by (reason) ({_RATE})", "{{reason}}"),
            )
            .stacking(common.StackingConfig().mode(StackingMode.NORMAL))
            .fill_opacity(40)
        )
        .with_panel(
            h.heat_rows(
                "Reasons through time",
                "The darker, the more VM exits per second for that reason. The scale is not linear, so that rare "
                "reasons are seen beside frequent ones.",
                units.CountsPerSecond,
                h.series(f"sum by (reason) ({_RATE}) > 0", "{{reason}}"),
            )
        )
        .with_panel(
            h.gauges(
                "Guests with most exits",
                "The twenty guests that make most VM exits per second now.",
                units.CountsPerSecond,
                h.now(f"topk(20, sum by (host, stack, guest) ({_RATE}))", "{{host}} {{guest}} {{stack}}"),
            )
        )
        .with_panel(
            h.side_by_side(
                "Reasons by stack",
                "VM exits per second now by reason, the stacks beside each other; all chosen guests together.",
                units.CountsPerSecond,
                f"sum by (reason, stack) ({_RATE})",
                "reason",
            )
        )
    )
