"""Campaigns as the store knows them: made, and in which state. Without the engine, so that looking is quick."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness import __version__
from harness.campaign import folder as folders
from harness.campaign.plan import Use, make_plan
from harness.campaign.provenance import revision
from harness.campaign.spec import Campaign
from harness.errors import ExitCode
from harness.results.model import CampaignRecord, Tally
from harness.results.store import Store

RUNNING, DONE, CANCELLED, INTERRUPTED = "running", "done", "cancelled", "interrupted"


@dataclass(frozen=True)
class Outcome:
    """How a campaign came to its end, or to a stop."""

    campaign_id: str
    status: str
    trials: int
    failed: int
    disagreements: tuple[str, ...]  # between Prometheus and the store

    @property
    def exit_code(self) -> ExitCode:
        if self.status == INTERRUPTED:
            return ExitCode.INTERRUPTED
        return ExitCode.FAILED if self.failed or self.disagreements or self.status != DONE else ExitCode.OK


def outcome(store: Store, campaign_id: str, status: str) -> Outcome:
    """What the store knows of how a campaign of that status went."""
    tally = store.tallies(campaign_id).get(campaign_id, Tally())
    _, disagreements = store.prometheus(campaign_id)
    return Outcome(campaign_id, status, tally.trials, tally.failed, disagreements)


def uses(campaign: Campaign) -> list[Use]:
    """The campaign's workloads as the plan needs them."""
    found = []
    for use in campaign.spec.workloads:
        workload = campaign.workloads[use.name]
        boots = workload.runs == "boot"
        seconds = 0 if boots else use.seconds or workload.seconds
        found.append(Use(use.name, seconds, use.repeats, boots))
    return found


def register(store: Store, campaign: Campaign, inventory: Path) -> CampaignRecord:
    """Make a new campaign, ready to be executed. Raises StorageError."""
    campaign_id = folders.new_id(campaign.spec.name)
    seed = secrets.randbelow(2**32) if campaign.spec.seed is None else campaign.spec.seed
    plan = make_plan(
        campaign_id,
        seed,
        hosts=[host.name for host in campaign.hosts],
        stacks=campaign.spec.stacks,
        boots=campaign.spec.boots,
        uses=uses(campaign),
    )
    folders.write(campaign_id, campaign.text, inventory, plan, dict(campaign.workloads))
    record = CampaignRecord(
        id=campaign_id,
        name=campaign.spec.name,
        spec_text=campaign.text,
        seed=seed,
        fidelity=campaign.fidelity,
        revision=revision(),
        harness_version=__version__,
        started_at=datetime.now(UTC),
        ended_at=None,
        status=RUNNING,
        trials_planned=plan.trials,
    )
    store.add_campaign(record)
    return record


def status_now(record: CampaignRecord) -> str:
    """The campaign's status, also where its controller was killed and could not say that it is interrupted."""
    if record.status == RUNNING and folders.is_here(record.id) and folders.controller(record.id) is None:
        return INTERRUPTED
    return record.status
