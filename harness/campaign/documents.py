"""Campaigns as plain documents: what `--json` prints and the web page serves."""

from __future__ import annotations

from dataclasses import asdict

from harness.campaign.plan import Plan
from harness.campaign.register import status_now
from harness.campaign.run import guest_tag
from harness.results.model import CampaignRecord, NoteKind, Status, Tally, TrialRecord
from harness.results.store import Store


def list_documents(store: Store) -> list[dict[str, object]]:
    """All campaigns, the latest first, with how far they are."""
    found: list[dict[str, object]] = []
    tallies = store.tallies()
    for record in store.campaigns():
        tally = tallies.get(record.id, Tally())
        found.append(
            {
                "id": record.id,
                "status": status_now(record),
                "fidelity": record.fidelity,
                "started_at": record.started_at,
                "ended_at": record.ended_at,
                "trials": tally.trials,
                "trials_planned": record.trials_planned,
                "failed": tally.failed,
            }
        )
    return found


def status_document(store: Store, record: CampaignRecord, status: str, plan: Plan | None) -> dict[str, object]:
    """Everything about one campaign but its figures. `plan` is None for campaigns of another control node."""
    trials = store.trials(record.id)
    checked, disagreements = store.prometheus(record.id)
    return {
        "id": record.id,
        "status": status,
        "fidelity": record.fidelity,
        "seed": record.seed,
        "revision": record.revision,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "trials": len(trials),
        "trials_planned": record.trials_planned,
        "failed": _failed(trials),
        "overhead_seconds_per_trial": _overhead(trials),
        "guests_named": f"{guest_tag(record.id)}-*",
        "guests_checked_with_prometheus": checked,
        "disagreements": disagreements,
        "blocks": _blocks(store, record, trials, plan),
        "failures": [{"trial": trial.id, "failure": trial.failure} for trial in trials if trial.failure],
        "notes": [asdict(note) for note in store.notes(record.id) if note.kind is not NoteKind.PROMETHEUS],
    }


def _blocks(
    store: Store, record: CampaignRecord, trials: tuple[TrialRecord, ...], plan: Plan | None
) -> list[dict[str, object]]:
    stored = {block.id: block for block in store.blocks(record.id)}
    places: list[tuple[str, int, str, str, int | None]] = (
        [(block.id, block.number, block.host, block.stack, len(block.trials)) for block in plan.blocks]
        if plan
        else [(block.id, block.number, block.host, block.stack, None) for block in stored.values()]
    )
    found: list[dict[str, object]] = []
    for identity, number, host, stack, planned in places:
        own = tuple(trial for trial in trials if trial.block_id == identity)
        block = stored.get(identity)
        state = "waits" if block is None else "done" if planned == len(own) else "begun"
        found.append(
            {
                "id": identity,
                "number": number,
                "host": host,
                "stack": stack,
                "state": state,
                "trials": len(own),
                "trials_planned": planned,
                "failed": _failed(own),
                "boot_id": block.boot_id if block else "",
                "ready_seconds": block.ready_seconds if block else 0.0,
            }
        )
    return found


def _failed(trials: tuple[TrialRecord, ...]) -> int:
    return sum(trial.status is Status.FAILED for trial in trials)


def _overhead(trials: tuple[TrialRecord, ...]) -> float | None:
    good = [trial.overhead_seconds for trial in trials if trial.status is Status.OK]
    return sum(good) / len(good) if good else None
