"""Records for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from harness.results.model import (
    BlockRecord,
    CampaignRecord,
    ChangeKind,
    ChangeRecord,
    Direction,
    ExitCount,
    Fidelity,
    Fingerprint,
    GuestTotals,
    MetricValue,
    NightlyRecord,
    NightRecord,
    NightStatus,
    Note,
    NoteKind,
    Status,
    TrialRecord,
)

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
PLUS_ONE = timezone(timedelta(hours=1))

CAMPAIGN = CampaignRecord(
    id="quick-1",
    name="quick",
    spec_text="name: quick\n# ä\n",
    seed=2**62,
    fidelity=Fidelity.EMULATED,
    revision="abc-dirty",
    harness_version="0.1.0",
    started_at=AT,
    ended_at=None,
    status="running",
    trials_planned=2,
)
FINGERPRINT = Fingerprint("rack1", "f" * 64, (("cpu.model", "EPYC"), ("kernel.release", "6.12")))
BLOCK = BlockRecord("quick-1.b01", "quick-1", 1, "rack1", "kvm", "boot-1", FINGERPRINT.digest, 23.5)
FAILED_BLOCK = BlockRecord("quick-1.b02", "quick-1", 2, "rack1", "kvm-tuned", "", "", 0.0)
TRIAL = TrialRecord(
    id="quick-1.b01.t01",
    campaign_id="quick-1",
    block_id=BLOCK.id,
    host="rack1",
    stack="kvm",
    workload="cpu",
    repeat=1,
    order=1,
    status=Status.OK,
    failure="",
    guest="g",
    boot_id="boot-1",
    fingerprint=FINGERPRINT.digest,
    fidelity=Fidelity.EMULATED,
    started_at=AT,
    ended_at=AT + timedelta(seconds=12),
    seconds=10.25,
    overhead_seconds=1.5,
    metrics=(
        MetricValue("events_per_second", 3326.49, "1/s", Direction.HIGHER),
        MetricValue("a", 0.1, "s", Direction.LOWER),
    ),
    exits=(ExitCount(0, "hlt", 2**40), ExitCount(0, "ioio", 3), ExitCount(1, "hlt", 5)),
    exits_dropped=0,
    artifacts="blocks/b01-rack1-kvm/t01-cpu-r1",
)
FAILED_TRIAL = TrialRecord(
    **{
        **{name: getattr(TRIAL, name) for name in TRIAL.__dataclass_fields__},
        "id": "quick-1.b02.t01",
        "block_id": FAILED_BLOCK.id,
        "stack": "kvm-tuned",
        "status": Status.FAILED,
        "failure": 'host quarantined, see\n"it"',
        "boot_id": "",
        "fingerprint": "",
        "started_at": AT + timedelta(seconds=20),
        "metrics": (),
        "exits": (),
    }
)
TOTALS = GuestTotals("quick-1", "rack1", "kvm", "g", (ExitCount(0, "hlt", 7), ExitCount(1, "npf", 8)), AT)
NOTE = Note("quick-1", NoteKind.QUARANTINED, "rack1", "it hangs", AT)
NIGHTLY = NightlyRecord("nightly", "controller", "name: nightly\n", "/c.yml", "quick", "/i.yml", AT, None)
NIGHT = NightRecord("nightly", "2026-01-02", AT, NightStatus.RUNNING, "", "quick-1", AT, None, "")
CHANGE = ChangeRecord(
    id="abc",
    campaign="quick",
    host="rack1",
    stack="kvm",
    workload="cpu",
    metric="a",
    unit="s",
    fidelity=Fidelity.EMULATED,
    kind=ChangeKind.WORSE,
    campaign_id="quick-1",
    found_at=AT,
    acknowledged_at=None,
    note="",
)
