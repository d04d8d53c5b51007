"""FIXTURE: an invented campaign in the shape of a real one, put into a store. None of its figures was measured."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from harness.results.model import (
    BlockRecord,
    CampaignRecord,
    Direction,
    ExitCount,
    Fidelity,
    Fingerprint,
    MetricValue,
    Note,
    NoteKind,
    Status,
    TrialRecord,
)
from harness.results.store import Store

STACKS = {"kvm": 1.0, "kvm-tuned": 0.1, "nohype": 0.0}  # and what is left of kvm's exits
EXITS = {  # per second
    "boot": {"ioio": 1490, "npf": 240, "msr": 95, "cpuid": 80, "hlt": 30},
    "idle": {"hlt": 14.2, "msr": 13.1, "intr": 6.3},
    "cpu": {"intr": 322, "msr": 290, "hlt": 4, "npf": 11},
}
HOSTILE = "hostile-io"
METRICS = {
    "boot": [("seconds_to_ssh", "s", Direction.LOWER, 17.2)],
    "idle": [],
    "cpu": [("events_per_second", "1/s", Direction.HIGHER, 212.0), ("latency_p95", "ms", Direction.LOWER, 4.9)],
}
HOST = "rack1"


def add_campaign(
    store: Store,
    name: str,
    start: datetime,
    *,
    boots: int = 2,
    cost: float = 1.0,
    status: str = "done",
    hostile: bool = False,
) -> CampaignRecord:
    """One host, three stacks, three workloads (`hostile`: four), twice each; one trial fails, one host is set aside.

    `cost` divides the results of workload cpu.
    """
    workloads = [*EXITS, *[HOSTILE] * hostile]
    random = np.random.default_rng(7)
    campaign_id = f"{name}-{start:%Y%m%d-%H%M%S}"
    trials, at = [], start
    for number, stack in enumerate([*STACKS] * boots, 1):
        block = BlockRecord(
            f"{campaign_id}.b{number}", campaign_id, number, HOST, stack, f"boot-{number}", "f" * 64, 41.5
        )
        at += timedelta(seconds=60)
        for order, workload in enumerate(workloads * 2):
            failed = (number, order) == (1, 5)
            noise = 1 + 0.01 * random.standard_normal()
            left = STACKS[stack] if workload != "boot" else 1.0
            trials.append(
                TrialRecord(
                    id=f"{block.id}.t{order}",
                    campaign_id=campaign_id,
                    block_id=block.id,
                    host=HOST,
                    stack=stack,
                    workload=workload,
                    repeat=order // len(workloads),
                    order=order,
                    status=Status.FAILED if failed else Status.OK,
                    failure="iperf3: Connection refused" if failed else "",
                    guest=f"g{number}",
                    boot_id=block.boot_id,
                    fingerprint=block.fingerprint,
                    fidelity=Fidelity.EMULATED,
                    started_at=at,
                    ended_at=at + timedelta(seconds=20),
                    seconds=10.0,
                    overhead_seconds=1.5,
                    metrics=tuple(
                        MetricValue(metric, mean * noise / (cost if workload == "cpu" else 1), unit, direction)
                        for metric, unit, direction, mean in METRICS.get(workload, [])
                    ),
                    exits=tuple(
                        ExitCount(vcpu, reason, round(rate * 10 * left * noise / 2))
                        for reason, rate in EXITS.get(workload, {"ioio": 5000}).items()
                        for vcpu in (0, 1)
                    ),
                    exits_dropped=0,
                    artifacts=f"blocks/b{number}/t{order}",
                )
            )
            at += timedelta(seconds=30)
        if number == 1:
            store.add_fingerprint(Fingerprint(HOST, "f" * 64, (("cpu.model", "EPYC"),)))
            record = CampaignRecord(
                id=campaign_id,
                name=name,
                spec_text=f"name: {name}\n",
                seed=42,
                fidelity=Fidelity.EMULATED,
                revision="0123456789abcdef",
                harness_version="0.1.0",
                started_at=start,
                ended_at=None,
                status="running",
                trials_planned=len(STACKS) * boots * len(workloads) * 2,
            )
            store.add_campaign(record)
        store.add_block(block)
    for trial in trials:
        store.add_trial(trial)
    store.add_note(Note(campaign_id, NoteKind.PROMETHEUS, f"{HOST}/g1", "", at))
    store.add_note(Note(campaign_id, NoteKind.PROMETHEUS, f"{HOST}/g2", "rack1: g2: vCPU 0, hlt: 1 and 2", at))
    store.add_note(Note(campaign_id, NoteKind.QUARANTINED, "rack2", "it hangs", at))
    if status != "running":
        store.set_campaign_status(campaign_id, status, at)
    return store.campaign(campaign_id)
