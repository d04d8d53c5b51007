"""docs/reference/metrics.md, from the catalogue: `python -m harness.telemetry.document` writes it anew."""

from __future__ import annotations

from harness.onhost.catalogue import Metric
from harness.paths import repo_root
from harness.telemetry.catalogue import GROUPS, Group

PAGE = repo_root() / "docs" / "reference" / "metrics.md"

_HEAD = """\
<!-- Made by `python -m harness.telemetry.document` from the catalogues in harness/onhost and harness/telemetry. -->

# Prometheus metrics

Three places serve them: each provisioned host at port 9177, the control node (`nohype metrics serve`), and campaigns
that have ended, by back-filling. How to bring them to a Prometheus and a Grafana of yours:
[observability](../how-to/observability.md).

During a campaign the harness runs a Prometheus of its own that scrapes the campaign's hosts, so that what hosts served
can be compared with what the store holds.
"""

_TAIL = """\
## Labels

| label | meaning |
| --- | --- |
| `host` | the host's name in the inventory. To what hosts serve Prometheus adds it (file_sd) |
| `stack`, `workload` | as in campaign files. A workload is a phase of a guest's life: `boot`, `idle`, others |
| `reason` | the CPU vendor's name of a VM exit |
| `campaign`, `campaign_name` | a campaign's id, and its name, which the runs of one campaign file share |
| `fidelity` | what it was measured on ([fidelity](../explanation/fidelity.md)); never put two into one figure |

Counters of hosts begin with the host's boot; a guest that has ended keeps its last values until the next boot. A guest
without hypervisor makes no exit but its last: the exit that kills it adds 1 to `nohype_vm_exits_total` for its vCPU and
reason, beside what was counted while it booted. What `engaged`, `disengaged` and `killed` mean:
[command line](cli.md#guests-without-hypervisor).

Hosts do not tell phases apart: a host counts a guest's exits without knowing what the guest is doing, and a label that
said so would be a guess. The harness reads the counters at the borders of each measured phase. So exits by phase are
results: `nohype_trial_exits_total`, whose label `workload` is the phase.

## How many series

The tables say what bounds the series of each metric. The control node serves campaigns that run, or did within the last
hour, and at most 10 of them (`nohype metrics serve --campaigns N`). Two guests of two vCPUs with ten reasons each make
40 series of exits on their host. A campaign of one host, three stacks and three workloads, which have three metrics and
twelve reasons between them, has 135 series.

## Queries

Exits per second of a guest, by reason:

```promql
sum by (host, guest, reason) (rate(nohype_vm_exits_total[1m]))
```

Exits per second of each phase and stack, as `nohype compare` has them, but each trial weighing by its length:

```promql
sum by (campaign, host, workload, stack) (nohype_trial_exits_total)
  / sum by (campaign, host, workload, stack) (nohype_trial_measured_seconds_total)
```

A back-filled campaign has samples where something changed, and nothing in between. Ask for the last value of a range,
or the average of what fell into a step: `last_over_time(nohype_trial_result[30d])`,
`avg_over_time(nohype_trial_result[1d])`.
"""


def text() -> str:
    """The page."""
    return "\n".join([_HEAD, *(_section(group) for group in GROUPS), _TAIL])


def _section(group: Group) -> str:
    rows = "".join(f"{_row(metric)}\n" for metric in group.metrics)
    return (
        f"## {group.title}\n\nServed by {group.served_by}.\n\n"
        f"| metric | type | labels | unit | meaning | series at most |\n| --- | --- | --- | --- | --- | --- |\n{rows}"
    )


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    cells = (f"`{metric.name}`", metric.kind, labels, metric.unit, metric.help, metric.bound)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
