"""FIXTURE: an invented campaign of the size of campaigns/quickstart.yml. None of its figures was measured."""

from datetime import UTC, datetime, timedelta

import numpy as np

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

ID = "quickstart-20260102-030405"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STACKS = ("kvm", "kvm-tuned", "nohype")
NETWORK = frozenset({"network-latency", "network-throughput"})
SECONDS = {"boot": 9.0, "idle": 6.0, "cpu": 4.0, "memory": 4.0, "network-latency": 4.0, "network-throughput": 4.0}
# Exits per second by reason: kvm, kvm-tuned. Guests of nohype have those of boot alone.
EXITS = {
    "boot": {"ioio": (2500, 2300), "npf": (300, 60), "msr": (400, 380), "hlt": (120, 0)},
    "idle": {"hlt": (13, 0), "msr": (22, 21), "intr": (5, 3)},
    "cpu": {"intr": (330, 250), "msr": (300, 290), "npf": (20, 5)},
    "memory": {"intr": (340, 230), "msr": (300, 270), "npf": (60, 10)},
    "network-latency": {"hlt": (700, 0), "intr": (500, 610), "msr": (300, 310), "vintr": (500, 480), "npf": (600, 2)},
    "network-throughput": {
        "hlt": (90, 0),
        "intr": (640, 1250),
        "msr": (500, 840),
        "vintr": (300, 820),
        "npf": (350, 1),
    },
}
METRICS = {
    "boot": [("start_to_ssh", "s", Direction.LOWER, 10.9), ("kernel_to_ssh", "s", Direction.LOWER, 9.2)],
    "idle": [],
    "cpu": [("events_per_second", "1/s", Direction.HIGHER, 877)],
    "memory": [("throughput", "MiB/s", Direction.HIGHER, 4086)],
    "network-latency": [
        ("round_trip_p50", "us", Direction.LOWER, 740),
        ("round_trip_p99", "us", Direction.LOWER, 4838),
        ("round_trip_mean", "us", Direction.LOWER, 971),
    ],
    "network-throughput": [
        ("throughput", "Mbit/s", Direction.HIGHER, 899),
        ("retransmits", "", Direction.LOWER, 12),
    ],
}
FASTER = {"kvm": 1.0, "kvm-tuned": 1.1, "nohype": 1.3}
FACTS = {"cpu.flags": "fpu npt svm", "cpu.model": "AMD EPYC-Milan Processor", "kvm_amd.avic": "N"}
NICS = {"kvm": "bridge", "kvm-tuned": "vf", "nohype": "vf"}


def fingerprints(**facts: str) -> tuple[Fingerprint, ...]:
    """One for each stack; `facts` replace those of FACTS, with `__` for the dot."""
    changed = FACTS | {name.replace("__", "."): value for name, value in facts.items()}
    return tuple(
        Fingerprint("rack1", f"print-{stack}", tuple((changed | {"guest.nic": NICS[stack]}).items()))
        for stack in STACKS
    )


def trials(boots: int = 2, fidelity: Fidelity = Fidelity.EMULATED, failed: int = 0) -> tuple[TrialRecord, ...]:
    """`failed`: so many of the last trials failed."""
    random = np.random.default_rng(7)
    blocks = [(boot, stack) for boot in range(boots) for stack in STACKS]
    planned = [(*block, workload) for block in blocks for workload in SECONDS]
    return tuple(
        _trial(number, *each, float(1 + 0.01 * random.standard_normal()), fidelity, number >= len(planned) - failed)
        for number, each in enumerate(planned)
    )


def _trial(
    number: int, boot: int, stack: str, workload: str, noise: float, fidelity: Fidelity, failed: bool
) -> TrialRecord:
    at = START + timedelta(seconds=15 * number)
    rates = {
        reason: kvm if stack == "kvm" else tuned if stack == "kvm-tuned" or workload == "boot" else 0
        for reason, (kvm, tuned) in EXITS[workload].items()
    }
    seconds = SECONDS[workload] / (FASTER[stack] if workload == "boot" else 1)
    return TrialRecord(
        id=f"{ID}.b{boot}-{stack}.{workload}",
        campaign_id=ID,
        block_id=f"{ID}.b{boot}-{stack}",
        host="rack1",
        stack=stack,
        workload=workload,
        repeat=0,
        order=number % len(SECONDS),
        status=Status.FAILED if failed else Status.OK,
        failure="iperf3 ended with status 1: unable to connect to server: Connection refused" if failed else "",
        guest=f"g{number}",
        boot_id=f"boot-{boot}-{stack}",
        fingerprint=f"print-{stack}",
        fidelity=fidelity,
        started_at=at,
        ended_at=at + timedelta(seconds=10),
        seconds=seconds,
        overhead_seconds=0.5,
        metrics=tuple(
            MetricValue(name, mean * noise * FASTER[stack] ** (1 if way is Direction.HIGHER else -1), unit, way)
            for name, unit, way, mean in METRICS[workload]
        ),
        exits=tuple(ExitCount(0, reason, round(rate * seconds * noise)) for reason, rate in rates.items() if rate),
        exits_dropped=0,
        artifacts="",
    )


def keep(store: Store, found: tuple[TrialRecord, ...]) -> CampaignRecord:
    """Put these trials into a store, as a campaign that is done."""
    record = CampaignRecord(
        id=ID,
        name="quickstart",
        spec_text=f"name: quickstart\nstacks: [{', '.join(STACKS)}]\n",
        seed=42,
        fidelity=found[0].fidelity,
        revision="0123456789abcdef0123456789abcdef01234567",
        harness_version="0.1.0",
        started_at=START,
        ended_at=START + timedelta(minutes=9),
        status="done",
        trials_planned=len(found),
    )
    store.add_campaign(record)
    for fingerprint in fingerprints():
        store.add_fingerprint(fingerprint)
    blocks = dict.fromkeys((trial.block_id, trial.stack, trial.boot_id, trial.fingerprint) for trial in found)
    for number, (block, stack, boot, fingerprint) in enumerate(blocks, 1):
        store.add_block(BlockRecord(block, ID, number, "rack1", stack, boot, fingerprint, 32.0))
    for trial in found:
        store.add_trial(trial)
    return record
