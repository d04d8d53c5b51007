"""Campaign: how far is it, did it go well, and how do the stacks compare?

Its figures may have been scraped, back-filled or both, so that the same series may be there twice: `max by` makes them
one. Back-filled ones have samples only where something changed: the last one in the time range counts.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BigValueTextMode, LineInterpolation

from dashboards import house as h

_THIS = 'campaign="$campaign"'
_PART = f'{_THIS}, host=~"$host", stack=~"$stack"'
_RESULT = f'nohype_trial_result{{{_PART}, workload="$workload", metric="$metric"}}'


def _last(metric: str, by: str, where: str = _THIS) -> str:
    return f"max by ({by}) (last_over_time({metric}{{{where}}}[$__range]))"


def dashboard() -> Dashboard:
    """The campaign chosen above; choose a time range that holds it."""
    done = _last("nohype_campaign_trials_total", "host, stack, workload, status")
    failed = _last("nohype_campaign_trials_total", "host, stack, workload", f'{_THIS}, status="failed"')
    measured = f"sum({_last('nohype_trial_measured_seconds_total', 'host, stack, workload')})"
    overhead = f"sum({_last('nohype_harness_overhead_seconds_total', 'host, stack')})"
    exits = _last("nohype_trial_exits_total", "host, stack, workload, reason", _PART)
    seconds = _last("nohype_trial_measured_seconds_total", "host, stack, workload", _PART)
    of_workload = f'{_PART}, workload="$workload"'
    exits_of_workload = _last("nohype_trial_exits_total", "host, stack, reason", of_workload)
    seconds_of_workload = _last("nohype_trial_measured_seconds_total", "host, stack", of_workload)
    boots = f"sum({_last('nohype_harness_boot_seconds_total', 'host, stack')})"
    ratio = 'nohype_comparison_ratio{campaign="$campaign", stack=~"$stack", bound="%s"}'
    by = "workload, metric, direction, stack, baseline"
    return (
        h.dashboard("nohype-campaign", "NoHype / Campaign", "Progress and results of one campaign.", "now-24h")
        .with_variable(
            h.variable(
                "campaign",
                "Campaign",
                "label_values(nohype_campaign_info, campaign)",
                several=False,
                newest_first=True,
            )
        )
        .with_variable(h.variable("host", "Host", f"label_values(nohype_campaign_trials_total{{{_THIS}}}, host)"))
        .with_variable(h.variable("stack", "Stack", f"label_values(nohype_campaign_trials_total{{{_THIS}}}, stack)"))
        .with_variable(
            h.variable("workload", "Workload", f"label_values(nohype_trial_result{{{_THIS}}}, workload)", several=False)
        )
        .with_variable(
            h.variable(
                "metric",
                "Metric",
                f'label_values(nohype_trial_result{{{_THIS}, workload="$workload"}}, metric)',
                several=False,
            )
        )
        .with_panel(
            h.number(
                "State",
                "What has become of the campaign: running, done, cancelled or interrupted.",
                units.NoUnit,
                h.now(f"{_last('nohype_campaign_state', 'state')} == 1", "{{state}}"),
            ).text_mode(BigValueTextMode.NAME)
        )
        .with_panel(
            h.number(
                "Trials done",
                "Share of the planned trials that have been run, failed ones included.",
                units.PercentUnit,
                h.now(f"sum({done}) / max({_last('nohype_campaign_trials_planned', 'campaign')})", "done"),
            ).decimals(0)
        )
        .with_panel(
            h.number(
                "Trials failed",
                "Trials that gave no result. nohype campaign status tells why.",
                units.Short,
                h.now(
                    f"sum({failed})",
                    "failed",
                ),
            ).thresholds(h.none_is_good())
        )
        .with_panel(
            h.number(
                "Prometheus disagrees",
                "Final exit counts of guests that were not the same in the campaign's Prometheus and in the results "
                "store. Must be 0.",
                units.Short,
                h.now(_last("nohype_campaign_disagreements", "campaign"), "counts"),
            ).thresholds(h.none_is_good())
        )
        .with_panel(
            h.number(
                "Hosts set aside",
                "Hosts that the campaign quarantined because they did not do what they should.",
                units.Short,
                h.now(
                    "count(" + _last("nohype_campaign_host_quarantined_timestamp_seconds", "host") + ") or vector(0)",
                    "hosts",
                ),
            ).thresholds(h.none_is_good())
        )
        .with_panel(
            h.number(
                "Measuring",
                "Share of the harness's time with trials that was spent in their measured phases; the rest is "
                "overhead. Boots are not in it.",
                units.PercentUnit,
                h.now(f"{measured} / ({measured} + {overhead})", "measured"),
            ).decimals(0)
        )
        .with_panel(
            h.lines(
                "Progress",
                "Trials done so far, by how they ended, and how many there will be.",
                units.Short,
                h.series(f"sum by (status) ({done})", "{{status}}"),
                h.series(_last("nohype_campaign_trials_planned", "campaign"), "planned", "B"),
            ).line_interpolation(LineInterpolation.STEP_AFTER)
        )
        .with_panel(
            h.grid(
                "Stacks against the baseline",
                "Ratio of a stack's mean to the baseline's, with its 95 % interval, as nohype compare has it. Where "
                "the interval holds 1, no difference has been shown. There when the campaign is done.",
                units.NoUnit,
                h.rows(f"max by ({by}) (last_over_time({ratio % 'estimate'}[$__range]))", "A"),
                h.rows(f"max by ({by}) (last_over_time({ratio % 'low'}[$__range]))", "B"),
                h.rows(f"max by ({by}) (last_over_time({ratio % 'high'}[$__range]))", "C"),
                columns={
                    "workload": "Workload",
                    "metric": "Metric",
                    "direction": "Better is",
                    "stack": "Stack",
                    "baseline": "Baseline",
                    "Value #A": "Ratio",
                    "Value #B": "Low",
                    "Value #C": "High",
                },
            ).decimals(3)
        )
        .with_panel(
            h.lines(
                "Every trial of $workload: $metric",
                "The result of each good trial when it ended. Which way is better, and the unit, are in the legend.",
                units.Short,
                h.series(
                    f"avg by (host, stack, unit, direction) (avg_over_time({_RESULT}[$__interval]))",
                    "{{unit}}, {{direction}} is better: {{host}} {{stack}}",
                ),
            )
        )
        .with_panel(
            h.side_by_side(
                "VM exits by phase",
                "VM exits per second of the measured phase of good trials, each trial weighing by its length.",
                units.CountsPerSecond,
                h.per_second(exits, seconds, "stack, workload"),
                "workload",
            )
        )
        .with_panel(
            h.side_by_side(
                "VM exits of $workload by reason",
                "The same for the chosen workload, by the CPU vendor's exit reason.",
                units.CountsPerSecond,
                f"sum by (stack, reason) ({exits_of_workload}) / on (stack) "
                f"group_left sum by (stack) ({seconds_of_workload})",
                "reason",
            )
        )
        .with_panel(
            h.gauges(
                "Where time goes",
                "Hosts' time so far: in measured phases, around them, and from asking for a boot until SSH answered.",
                units.Seconds,
                h.now(measured, "measured"),
                h.now(overhead, "around", "B"),
                h.now(boots, "boots", "C"),
            )
        )
    )
