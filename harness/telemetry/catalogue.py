"""Every metric of the testbed, as data. docs/reference/metrics.md is made from it (document.py).

Results are of phases, and counters are not: a host counts a guest's exits without knowing what the guest is doing, and
a label that tells would make that up. The harness knows, for it reads the counters at a phase's borders; so exits by
phase are `nohype_trial_exits_total`, with the phase as label `workload`.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.onhost.catalogue import HOST_METRICS, Metric

# Which campaign; its name groups the nights of a nightly. The name follows from the id and adds no series.
_CAMPAIGN = ("campaign", "campaign_name")
_PHASE = (*_CAMPAIGN, "fidelity", "host", "stack", "workload")
_PHASES = "campaigns x hosts x stacks x workloads"

CAMPAIGN_INFO = Metric(
    "nohype_campaign_info",
    "gauge",
    (*_CAMPAIGN, "fidelity", "revision"),
    "",
    "1. Its labels tell what was run",
    "campaigns",
)
CAMPAIGN_STATE = Metric(
    "nohype_campaign_state",
    "gauge",
    (*_CAMPAIGN, "state"),
    "",
    "1 for the state the campaign is in, 0 for the others of running, done, cancelled and interrupted",
    "4 x campaigns",
)
CAMPAIGN_START = Metric(
    "nohype_campaign_start_time_seconds", "gauge", _CAMPAIGN, "seconds", "When it was begun, Unix time", "campaigns"
)
CAMPAIGN_END = Metric(
    "nohype_campaign_end_time_seconds",
    "gauge",
    _CAMPAIGN,
    "seconds",
    "When it ended, Unix time. Absent until then",
    "campaigns",
)
PLANNED = Metric(
    "nohype_campaign_trials_planned", "gauge", _CAMPAIGN, "trials", "Trials the campaign consists of", "campaigns"
)
TRIALS = Metric(
    "nohype_campaign_trials_total",
    "counter",
    (*_CAMPAIGN, "host", "stack", "workload", "status"),
    "trials",
    "Trials so far; status is ok or failed",
    f"2 x {_PHASES}",
)
NOTES = Metric(
    "nohype_campaign_notes_total",
    "counter",
    (*_CAMPAIGN, "kind"),
    "notes",
    "What happened besides trials: block-failed, power-cycled, quarantined, warning, cancel",
    "5 x campaigns",
)
QUARANTINED = Metric(
    "nohype_campaign_host_quarantined_timestamp_seconds",
    "gauge",
    (*_CAMPAIGN, "host"),
    "seconds",
    "When the campaign set a host aside, Unix time",
    "campaigns x hosts",
)
COMPARED = Metric(
    "nohype_campaign_guests_compared",
    "gauge",
    _CAMPAIGN,
    "guests",
    "Ended guests whose exit counts in Prometheus were compared with those in the store",
    "campaigns",
)
DISAGREEMENTS = Metric(
    "nohype_campaign_disagreements",
    "gauge",
    _CAMPAIGN,
    "counts",
    "Exit counts that were not the same in Prometheus and in the store. Must be 0",
    "campaigns",
)
RESULT = Metric(
    "nohype_trial_result",
    "gauge",
    (*_PHASE, "metric", "unit", "direction"),
    "as its label unit says",
    "A metric of the latest good trial; direction tells which way is better: higher, lower or neither",
    f"{_PHASES} x the workload's metrics",
)
TRIAL_EXITS = Metric(
    "nohype_trial_exits_total",
    "counter",
    (*_PHASE, "reason"),
    "exits",
    "VM exits in the measured phases of good trials, by reason, all vCPUs",
    f"{_PHASES} x reasons that occurred",
)
MEASURED = Metric(
    "nohype_trial_measured_seconds_total",
    "counter",
    _PHASE,
    "seconds",
    "Time that the measured phases of good trials took",
    _PHASES,
)
RATIO = Metric(
    "nohype_comparison_ratio",
    "gauge",
    (*_CAMPAIGN, "fidelity", "workload", "metric", "direction", "stack", "baseline", "bound"),
    "ratio",
    "A stack's mean over the baseline's, as nohype compare has it; bound is estimate, low or high (95 % interval). "
    "Of campaigns that are done",
    "3 x campaigns x workloads x metrics x stacks",
)
HARNESS_INFO = Metric(
    "nohype_harness_info", "gauge", ("version", "revision"), "", "1. Which harness serves these metrics", "1"
)
OVERHEAD = Metric(
    "nohype_harness_overhead_seconds_total",
    "counter",
    (*_CAMPAIGN, "host", "stack"),
    "seconds",
    "Time the harness spent on trials outside of their measured phases",
    "campaigns x hosts x stacks",
)
BOOTS = Metric(
    "nohype_harness_boots_total",
    "counter",
    (*_CAMPAIGN, "host", "stack"),
    "boots",
    "Boots of hosts into a stack, one for each block",
    "campaigns x hosts x stacks",
)
BOOT_SECONDS = Metric(
    "nohype_harness_boot_seconds_total",
    "counter",
    (*_CAMPAIGN, "host", "stack"),
    "seconds",
    "Time from asking for those boots until SSH answered again",
    "campaigns x hosts x stacks",
)
STORE_UP = Metric("nohype_store_up", "gauge", (), "", "Whether the results store could be read", "1")
STORE_CAMPAIGNS = Metric("nohype_store_campaigns", "gauge", (), "campaigns", "Campaigns in the results store", "1")
STORE_SECONDS = Metric("nohype_store_read_seconds", "gauge", (), "seconds", "Time this reading of the store took", "1")

NIGHTLY_SUCCESS = Metric(
    "nohype_nightly_last_success_timestamp_seconds",
    "gauge",
    ("nightly",),
    "seconds",
    "When a night last ended well, Unix time",
    "nightlies",
)
NIGHTLY_MISSED = Metric(
    "nohype_nightly_missed", "gauge", ("nightly",), "nights", "Nights that were due and did not run", "nightlies"
)
NIGHTLY_REGRESSIONS = Metric(
    "nohype_nightly_regressions",
    "gauge",
    ("nightly", "stack", "host", "metric"),
    "regressions",
    "Changes for the worse that nobody has acknowledged",
    "nightlies x stacks x hosts x metrics",
)


@dataclass(frozen=True)
class Group:
    """Metrics that belong together. `served_by` says where they come from."""

    title: str
    served_by: str
    metrics: tuple[Metric, ...]


CAMPAIGNS = Group(
    "Campaigns",
    "the control node, and back-filled",
    (
        CAMPAIGN_INFO,
        CAMPAIGN_STATE,
        CAMPAIGN_START,
        CAMPAIGN_END,
        PLANNED,
        TRIALS,
        NOTES,
        QUARANTINED,
        COMPARED,
        DISAGREEMENTS,
    ),
)
RESULTS = Group("Results", "the control node, and back-filled", (RESULT, TRIAL_EXITS, MEASURED, RATIO))
EFFORT = Group("The harness's own effort", "the control node, and back-filled", (OVERHEAD, BOOTS, BOOT_SECONDS))
CONTROLLER = Group(
    "The control node's exporter", "the control node", (HARNESS_INFO, STORE_UP, STORE_CAMPAIGNS, STORE_SECONDS)
)
NIGHTLIES = Group(
    "Nightlies",
    "the control node, where nightlies are installed",
    (NIGHTLY_SUCCESS, NIGHTLY_MISSED, NIGHTLY_REGRESSIONS),
)
HOSTS = Group("Hosts and guests", "each host", HOST_METRICS)
GROUPS = (HOSTS, CAMPAIGNS, RESULTS, EFFORT, CONTROLLER, NIGHTLIES)
