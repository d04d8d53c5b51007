"""Security: which guests were killed, did any exit after it had disengaged, what did hostile guests achieve?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import LineInterpolation

from dashboards import house as h

_HOSTS = 'host=~"$host"'
_HOSTILE = f'{_HOSTS}, workload=~"$hostile"'


def _guests(state: str) -> str:
    return f'nohype_guest_engagement{{{_HOSTS}, state="{state}"}}'


def _last(metric: str, by: str) -> str:
    return f"max by ({by}) (last_over_time({metric}{{{_HOSTILE}}}[$__range]))"


def dashboard() -> Dashboard:
    """The hosts chosen above."""
    phase = "campaign, host, stack, workload"
    trials = _last("nohype_campaign_trials_total", f"{phase}, status")
    exits = _last("nohype_trial_exits_total", f"{phase}, reason")
    measured = _last("nohype_trial_measured_seconds_total", phase)
    return (
        h.dashboard("nohype-security", "NoHype / Security", "Kills, and runs with hostile guests.", "now-24h")
        .with_variable(h.variable("host", "Host", "label_values(nohype_host_info, host)"))
        .with_variable(
            h.text_variable("hostile", "Hostile workloads", "hostile.*", "Pattern of the names of hostile workloads")
        )
        .with_panel(
            h.number(
                "Guests without hypervisor",
                "Guests that are disengaged now.",
                units.Short,
                h.now(f"sum({_guests('disengaged')})", "guests"),
            ).span(8)
        )
        .with_panel(
            h.number(
                "Killed guests",
                "Guests that made a VM exit after disengaging, or were killed for another cause, since their host's "
                "boot.",
                units.Short,
                h.now(f"sum({_guests('killed')})", "guests"),
            )
            .span(8)
            .thresholds(h.steps({None: h.GOOD, 1: h.NOTICE}))
        )
        .with_panel(
            h.number(
                "Guests with exits after disengagement",
                "Guests that went on without hypervisor although VM exits of theirs were counted in the last minutes. "
                "Must be 0: any exit is to end them.",
                units.Short,
                h.now(
                    f"count(sum by (host, guest) (increase(nohype_vm_exits_total{{{_HOSTS}}}[4m])) > 0 "
                    f"and on (host, guest) min_over_time({_guests('disengaged')}[5m]) == 1 "
                    f"and on (host, guest) ({_guests('disengaged')} offset 5m) == 1) or vector(0)",
                    "guests",
                ),
            )
            .span(8)
            .thresholds(h.none_is_good())
        )
        .with_panel(
            h.lines(
                "Kills through time",
                "Guests found killed, by host. A reboot begins anew.",
                units.Short,
                h.series(f"sum by (host) ({_guests('killed')})", "{{host}}"),
            )
            .line_interpolation(LineInterpolation.STEP_AFTER)
            .min(0)
        )
        .with_panel(
            h.grid(
                "Which guests were killed",
                "Every guest killed in the time range, and how many VM exits were counted of it in its whole life. The "
                "reason and address of the last: nohype guest list HOST.",
                units.Short,
                h.rows(
                    f"max by (host, guest) (last_over_time({_guests('killed')}[$__range])) == 1 "
                    f"and on (host, guest) nohype_guest_up",
                ),
                h.rows(
                    f"sum by (host, guest) (last_over_time(nohype_vm_exits_total{{{_HOSTS}}}[$__range])) "
                    f"and on (host, guest) (max by (host, guest) (last_over_time({_guests('killed')}[$__range])) == 1)",
                    "B",
                ),
                columns={"host": "Host", "guest": "Guest", "Value #A": "Killed", "Value #B": "VM exits"},
            )
        )
        .with_panel(
            h.grid(
                "Runs with hostile guests",
                "Trials of campaigns in the time range whose workload is hostile, by how they ended. ok: the host and "
                "its other guests went on.",
                units.Short,
                h.rows(f"{trials} > 0"),
                columns={
                    "campaign": "Campaign",
                    "host": "Host",
                    "stack": "Stack",
                    "workload": "Workload",
                    "status": "Ended",
                    "Value": "Trials",
                },
            )
        )
        .with_panel(
            h.side_by_side(
                "VM exits in runs with hostile guests",
                "VM exits per second of measured time, stacks beside each other.",
                units.CountsPerSecond,
                h.per_second(exits, measured, "stack, workload"),
                "workload",
            )
        )
    )
