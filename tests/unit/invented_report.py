"""FIXTURE: an invented campaign in the shape of a real one, to draw reports from. None of its figures was measured."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from harness.analysis.compare import compare
from harness.report.model import PrometheusAgreement, ReportInput
from harness.results.model import (
    BlockRecord,
    CampaignRecord,
    Direction,
    ExitCount,
    Fidelity,
    Fingerprint,
    MetricValue,
    Status,
    TrialRecord,
)
from harness.results.store import Store

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CMDLINE = "root=/dev/vda1 ro console=ttyS0 intel_iommu=on iommu=pt nohype.stack="

# exits per second by reason; a figure for kvm, a factor for kvm-tuned
EXITS = {
    "boot": {
        "ioio": (1490, 1.02),
        "npf": (240, 0.35),
        "msr": (95, 0.5),
        "cpuid": (80, 1),
        "hlt": (30, 0.02),
        "intr": (21, 0.6),
        "vintr": (9, 1),
        "cr4_write": (4, 1),
        "xsetbv": (0.2, 1),
        "nmi": (0.1, 0),
    },
    "idle": {"hlt": (14.2, 0), "msr": (13.1, 0.62), "intr": (6.3, 0.4), "ioio": (2.4, 0.1), "npf": (1.2, 0.2)},
    "cpu": {"intr": (322, 0.02), "msr": (290, 0.011), "hlt": (4, 0), "npf": (11, 0.1), "cpuid": (2.7, 1)},
    "memory": {"npf": (410, 0.06), "intr": (301, 0.021), "msr": (277, 0.02), "cpuid": (3.1, 1)},
    "network": {
        "ioio": (5300, 0.01),
        "hlt": (2100, 0),
        "msr": (2800, 0.4),
        "intr": (900, 1.3),
        "npf": (120, 0.1),
        "vintr": (310, 0.1),
    },
}
METRICS = {
    "boot": [("seconds_to_ssh", "s", Direction.LOWER, 17.2, 1.0)],
    "cpu": [
        ("events_per_second", "1/s", Direction.HIGHER, 212.0, 1.02),
        ("latency_p95", "ms", Direction.LOWER, 4.9, 0.97),
    ],
    "memory": [
        ("copy_rate", "MB/s", Direction.HIGHER, 1480.0, 1.11),
        ("triad_rate", "MB/s", Direction.HIGHER, 1320.0, 1.08),
    ],
    "network": [
        ("throughput", "Mbit/s", Direction.HIGHER, 74.0, 1.9),
        ("round_trip_mean", "ms", Direction.LOWER, 3.1, 0.7),
    ],
    "idle": [("seconds", "s", Direction.NEITHER, 10.0, 1.0)],
}
FAILURE = "iperf3 ended with status 1: unable to connect to server: Connection refused\n  to mend: see the artifacts"
SPEC = """name: quickstart
hosts: rack*
stacks: [kvm, kvm-tuned]
boots: 3
workloads: [boot, idle, cpu, memory, network]
"""
FACTS = (
    ("cpu.microcode", "0x1000065"),
    ("cpu.model", "AMD EPYC-Milan Processor"),
    ("kernel.release", "6.12.48+deb13-amd64"),
    ("qemu.version", "10.0.3"),
)
TUNED = "kvm-tuned isolcpus=managed_irq,domain,2-3 nohz_full=2-3 rcu_nocbs=2-3 default_hugepagesz=2M hugepages=320"
LENGTH = {"boot": 17.2, "idle": 10.0, "cpu": 10.0, "memory": 12.0, "network": 20.0}


def _trials(boots, repeats, fidelity):
    random = np.random.default_rng(7)
    number = 0
    for boot in range(boots):
        for stack in ("kvm", "kvm-tuned"):
            luck = 1 + 0.02 * random.standard_normal()
            for repeat in range(repeats):
                for workload in random.permutation(list(EXITS)):
                    number += 1
                    tuned = stack == "kvm-tuned"
                    noise = lambda: float(luck * (1 + 0.01 * random.standard_normal()))  # noqa: E731, B023
                    failed = (stack, boot, repeat, workload) in {("kvm", 1, 1, "network"), ("kvm-tuned", 2, 0, "boot")}
                    yield TrialRecord(
                        id=f"quickstart-fixture-{number:03}",
                        campaign_id="quickstart-fixture",
                        block_id=f"block-{boot}-{stack}",
                        host="rack1",
                        stack=stack,
                        workload=str(workload),
                        repeat=repeat,
                        order=number % (repeats * len(EXITS)),
                        status=Status.FAILED if failed else Status.OK,
                        failure=FAILURE if failed else "",
                        guest=f"g{number}",
                        boot_id=f"{boot:04}{'b' if tuned else 'a'}c1d-0000-4000-8000-000000000000",
                        fingerprint=f"{'b' if tuned else 'a'}" * 64,
                        fidelity=fidelity,
                        started_at=START + timedelta(seconds=30 * number),
                        ended_at=START + timedelta(seconds=30 * number + 20),
                        seconds=LENGTH[workload] * noise(),
                        overhead_seconds=1.2,
                        metrics=tuple(
                            MetricValue(name, mean * noise() * (factor if tuned else 1), unit, direction)
                            for name, unit, direction, mean, factor in METRICS[workload]
                        ),
                        exits=tuple(
                            ExitCount(
                                vcpu, reason, round(rate * LENGTH[workload] * noise() * (factor if tuned else 1) / 2)
                            )
                            for reason, (rate, factor) in EXITS[workload].items()
                            for vcpu in (0, 1)
                        ),
                        exits_dropped=0,
                        artifacts=f"trials/{number:03}",
                    )


def make(folder: Path, boots=3, repeats=2, fidelity=Fidelity.EMULATED, **changes) -> ReportInput:
    """`changes` replace fields of the ReportInput; artifacts go to `folder`."""
    trials = tuple(_trials(boots, repeats, fidelity))
    fingerprints = (
        Fingerprint("rack1", "a" * 64, (*FACTS, ("kernel.cmdline", f"{CMDLINE}kvm"))),
        Fingerprint("rack1", "b" * 64, (*FACTS, ("kernel.cmdline", f"{CMDLINE}{TUNED}"))),
    )
    artifacts = folder / "artifacts" / "quickstart-fixture"
    for trial in trials[:40]:
        (artifacts / trial.artifacts).mkdir(parents=True)
    values = {
        "campaign": CampaignRecord(
            id="quickstart-fixture",
            name="quickstart (FIXTURE, invented figures)",
            spec_text=SPEC,
            seed=42,
            fidelity=fidelity,
            revision="0123456789abcdef0123456789abcdef01234567-dirty",
            harness_version="0.1.0",
            started_at=START,
            ended_at=START + timedelta(minutes=31, seconds=12),
            status="done",
            trials_planned=len(trials),
        ),
        "comparison": compare(trials, fingerprints=fingerprints, seed=42) if trials else None,
        "trials": trials,
        "blocks": tuple(
            BlockRecord(
                id=f"block-{boot}-{stack}",
                campaign_id="quickstart-fixture",
                number=boot * 2 + n,
                host="rack1",
                stack=stack,
                boot_id=f"{boot:04}{'ab'[n]}c1d-0000-4000-8000-000000000000",
                fingerprint="ab"[n] * 64,
                ready_seconds=41.0 + n + boot,
            )
            for boot in range(boots)
            for n, stack in enumerate(("kvm", "kvm-tuned"))
        ),
        "fingerprints": fingerprints,
        "notes": (),
        "prometheus": PrometheusAgreement(12, ()),
        "artifacts": artifacts,
    }
    return ReportInput(**{**values, **changes})


def keep(source: ReportInput, store: Store) -> None:
    """Put the invented campaign into a store."""
    for fingerprint in source.fingerprints:
        store.add_fingerprint(fingerprint)
    store.add_campaign(source.campaign)
    for block in source.blocks:
        store.add_block(block)
    for trial in source.trials:
        store.add_trial(trial)
    for note in source.notes:
        store.add_note(note)
