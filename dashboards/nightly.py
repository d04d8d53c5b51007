"""Nightly trends: has something got better or worse over the nights, when, and did the nights run at all?

Samples of a night are few and far between, live ones and back-filled ones alike: what falls into a step is averaged.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import AnnotationQuery, Dashboard
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import GraphDrawStyle

from dashboards import house as h

_NIGHTS = 'campaign_name="$nightly"'
_PART = f'{_NIGHTS}, workload="$workload", host=~"$host", stack=~"$stack"'
_PLACE = "host, stack, fidelity"


def _last(metric: str, by: str, where: str) -> str:
    return f"max by ({by}) (last_over_time({metric}{{{where}}}[$__interval]))"


def dashboard() -> Dashboard:
    """The nightly chosen above."""
    regressions = 'nohype_nightly_regressions{nightly="$nightly"}'
    rises = f"sum by (stack, host, metric) ({regressions} > ({regressions} offset $__interval or {regressions} * 0))"
    exits = _last("nohype_trial_exits_total", f"{_PLACE}, campaign, reason", _PART)
    measured = _last("nohype_trial_measured_seconds_total", f"{_PLACE}, campaign", _PART)
    ended, began = ("nohype_campaign_end_time_seconds", "nohype_campaign_start_time_seconds")
    return (
        h.dashboard("nohype-nightly", "NoHype / Nightly trends", "Results over many nights.", "now-30d")
        .with_variable(
            h.variable("nightly", "Nightly", "label_values(nohype_trial_result, campaign_name)", several=False)
        )
        .with_variable(
            h.variable(
                "workload", "Workload", f"label_values(nohype_trial_result{{{_NIGHTS}}}, workload)", several=False
            )
        )
        .with_variable(
            h.variable(
                "metric",
                "Metric",
                f'label_values(nohype_trial_result{{{_NIGHTS}, workload="$workload"}}, metric)',
                several=False,
            )
        )
        .with_variable(h.variable("host", "Host", f"label_values(nohype_trial_result{{{_NIGHTS}}}, host)"))
        .with_variable(h.variable("stack", "Stack", f"label_values(nohype_trial_result{{{_NIGHTS}}}, stack)"))
        .annotation(
            AnnotationQuery()
            .name("Detected regressions")
            .datasource(h.SOURCE)
            .enable(True)
            .icon_color(h.BAD)
            .expr(rises)
        )
        .with_panel(
            h.number(
                "Since the last good night",
                "Time since a night of this nightly last ended well.",
                units.Seconds,
                h.now('time() - max(nohype_nightly_last_success_timestamp_seconds{nightly="$nightly"})', "since"),
            )
            .span(8)
            .thresholds(h.steps({None: h.GOOD, 36 * 3600: h.BAD}))
        )
        .with_panel(
            h.number(
                "Missed nights",
                "Nights that were due and did not run.",
                units.Short,
                h.now('max(nohype_nightly_missed{nightly="$nightly"})', "missed"),
            )
            .span(8)
            .thresholds(h.none_is_good())
        )
        .with_panel(
            h.number(
                "Regressions",
                "Changes for the worse that nobody has acknowledged. To do so: nohype nightly ack.",
                units.Short,
                h.now(f"sum({regressions})", "regressions"),
            )
            .span(8)
            .thresholds(h.none_is_good())
        )
        .with_panel(
            h.lines(
                "$workload: $metric",
                "Mean of each night's good trials. Marks show where a regression was detected. Fidelities are kept "
                "apart.",
                units.Short,
                h.series(
                    f"avg by ({_PLACE}, unit, direction) "
                    f'(avg_over_time(nohype_trial_result{{{_PART}, metric="$metric"}}[$__interval]))',
                    "{{unit}}, {{direction}} is better, {{fidelity}}: {{host}} {{stack}}",
                ),
            )
            .interval("1h")
            .span(24)
            .height(11)
        )
        .with_panel(
            h.lines(
                "$workload: VM exits",
                "VM exits per second of measured time, of each night as far as it had come.",
                units.CountsPerSecond,
                h.series(
                    h.per_second(exits, measured, _PLACE),
                    "{{fidelity}}: {{host}} {{stack}}",
                ),
            ).interval("1h")
        )
        .with_panel(
            h.lines(
                "Length of a night",
                "From the campaign's begin to its end.",
                units.Seconds,
                h.series(f"{_last(ended, 'campaign', _NIGHTS)} - {_last(began, 'campaign', _NIGHTS)}", "{{campaign}}"),
            )
            .interval("1h")
            .draw_style(GraphDrawStyle.BARS)
            .span(6)
        )
        .with_panel(
            h.lines(
                "Failed trials of a night",
                "Trials without a result, by night.",
                units.Short,
                h.series(
                    "sum by (campaign) ("
                    + _last(
                        "nohype_campaign_trials_total",
                        "campaign, host, stack, workload",
                        f'{_NIGHTS}, status="failed"',
                    )
                    + ")",
                    "{{campaign}}",
                ),
            )
            .interval("1h")
            .draw_style(GraphDrawStyle.BARS)
            .span(6)
        )
    )
