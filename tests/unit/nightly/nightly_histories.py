"""Stores with nights of known figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from harness.hosts.discover import make_fingerprint
from harness.results.model import (
    BlockRecord,
    CampaignRecord,
    Direction,
    ExitCount,
    Fidelity,
    MetricValue,
    NightlyRecord,
    NightRecord,
    NightStatus,
    Status,
    TrialRecord,
)
from harness.results.store import Store

BEGIN = datetime(2026, 1, 1, 22, 0, tzinfo=UTC)
SPEC = 'name: nightly\ncampaign: nightly.yml\nat: "22:00"\n'
NIGHTLY = NightlyRecord("nightly", "elsewhere", SPEC, "/c.yml", "nightly", "/i.yml", BEGIN - timedelta(hours=1), None)


@dataclass(frozen=True)
class Night:
    """One campaign of one boot of each stack; `figures` by stack are those of metric `figure` (higher is better)."""

    figures: Mapping[str, float]
    facts: Mapping[str, str] = field(default_factory=dict)
    revision: str = "r1"
    text: str = "name: nightly\n"
    fidelity: Fidelity = Fidelity.EMULATED
    exits: int = 1000
    failed: Sequence[str] = ()  # stacks
    direction: Direction = Direction.HIGHER


def add(store: Store, number: int, night: Night, *, record: bool = True) -> str:
    """Store the campaign of night `number` (from 0), and the night itself; the campaign's id."""
    at = BEGIN + timedelta(days=number)
    campaign = f"nightly-{at:%Y%m%d}"
    store.add_campaign(
        CampaignRecord(
            campaign,
            "nightly",
            night.text,
            1,
            night.fidelity,
            night.revision,
            "0.1",
            at,
            at,
            "done",
            len(night.figures),
        )
    )
    for place, (stack, figure) in enumerate(night.figures.items(), start=1):
        fingerprint = make_fingerprint("rack1", {"stack": stack, **night.facts})
        store.add_fingerprint(fingerprint)
        block = f"{campaign}.b{place}"
        store.add_block(BlockRecord(block, campaign, place, "rack1", stack, f"{block}-boot", fingerprint.digest, 1.0))
        bad = stack in night.failed
        store.add_trial(
            TrialRecord(
                id=f"{block}.t1",
                campaign_id=campaign,
                block_id=block,
                host="rack1",
                stack=stack,
                workload="cpu",
                repeat=1,
                order=1,
                status=Status.FAILED if bad else Status.OK,
                failure="it <hangs>" if bad else "",
                guest="g",
                boot_id=f"{block}-boot",
                fingerprint=fingerprint.digest,
                fidelity=night.fidelity,
                started_at=at,
                ended_at=at,
                seconds=10.0,
                overhead_seconds=1.0,
                metrics=() if bad else (MetricValue("figure", figure, "1/s", night.direction),),
                exits=() if bad else (ExitCount(0, "hlt", night.exits),),
                exits_dropped=0,
                artifacts="",
            )
        )
    if record:
        if not store.nightlies():
            store.set_nightly(NIGHTLY)
        name = f"{at:%Y-%m-%d}"
        store.set_night(
            NightRecord("nightly", name, at, NightStatus.OK, "", campaign, at, at + timedelta(hours=3), "sent")
        )
    return campaign


def fill(store: Store, nights: Sequence[Night]) -> list[str]:
    """Store them all; the campaigns' ids."""
    return [add(store, number, night) for number, night in enumerate(nights)]
