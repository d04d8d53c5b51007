"""Campaigns as tables and as JSON."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.campaign.plan import Plan
from harness.campaign.register import status_now
from harness.campaign.run import guest_tag
from harness.results.model import CampaignRecord, Note, NoteKind, Status, TrialRecord
from harness.results.store import Store


def list_documents(store: Store) -> list[dict[str, object]]:
    """All campaigns, the latest first, with how far they are."""
    found: list[dict[str, object]] = []
    for record in store.campaigns():
        trials = store.trials(record.id)
        found.append(
            {
                "id": record.id,
                "status": status_now(record),
                "fidelity": record.fidelity,
                "started_at": record.started_at,
                "ended_at": record.ended_at,
                "trials": len(trials),
                "trials_planned": record.trials_planned,
                "failed": _failed(trials),
            }
        )
    return found


def list_view(documents: list[dict[str, object]]) -> RenderableType:
    table = Table("campaign", "status", "fidelity", "started (UTC)", "trials", "failed", box=None)
    for one in documents:
        trials = f"{one['trials']} of {one['trials_planned']}"
        failed = f"[red]{one['failed']}[/red]" if one["failed"] else "0"
        started = f"{one['started_at']:%Y-%m-%d %H:%M}"
        table.add_row(str(one["id"]), str(one["status"]), str(one["fidelity"]), started, trials, failed)
    return table


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


def status_view(store: Store, record: CampaignRecord, status: str, plan: Plan | None) -> RenderableType:
    found = status_document(store, record, status, plan)
    head = Text.assemble(
        (record.id, "bold"),
        f" is {status}: {found['trials']} of {record.trials_planned} trials, ",
        (f"{found['failed']} failed", "red" if found["failed"] else ""),
        f"; {record.fidelity}; seed {record.seed}",
    )
    table = Table("block", "host", "stack", "state", "trials", "failed", "boot", box=None)
    blocks = found["blocks"]
    assert isinstance(blocks, list)
    for block in blocks:
        failed = f"[red]{block['failed']}[/red]" if block["failed"] else "0"
        planned = f" of {block['trials_planned']}" if block["trials_planned"] is not None else ""
        boot = f"{block['ready_seconds']:.0f} s" if block["ready_seconds"] else ""
        cells = (str(block["number"]), block["host"], block["stack"], block["state"])
        table.add_row(*cells, f"{block['trials']}{planned}", failed, boot)
    lines: list[RenderableType] = [head, table]
    failures = [trial for trial in store.trials(record.id) if trial.failure]
    lines += [Text.assemble((f"✗ {trial.id} {trial.workload}: ", "red"), trial.failure) for trial in failures]
    notes = [note for note in store.notes(record.id) if note.text and note.kind is not NoteKind.PROMETHEUS]
    lines += [f"[yellow]! {escape(_told(note))}[/yellow]" for note in notes]
    _, disagreements = store.prometheus(record.id)
    lines += [f"[red]Prometheus disagrees:[/red] {escape(line)}" for line in disagreements]
    return Group(*lines)


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


def _told(note: Note) -> str:
    of_host = note.kind in (NoteKind.POWER_CYCLED, NoteKind.QUARANTINED)
    return f"{note.subject}: {note.text}" if of_host else note.text


def _failed(trials: tuple[TrialRecord, ...]) -> int:
    return sum(trial.status is Status.FAILED for trial in trials)


def _overhead(trials: tuple[TrialRecord, ...]) -> float | None:
    good = [trial.overhead_seconds for trial in trials if trial.status is Status.OK]
    return sum(good) / len(good) if good else None
