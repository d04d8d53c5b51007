"""Campaigns as tables."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.campaign.documents import status_document
from harness.campaign.plan import Plan
from harness.results.model import CampaignRecord, Note, NoteKind
from harness.results.store import Store


def list_view(documents: list[dict[str, object]]) -> RenderableType:
    table = Table("campaign", "status", "fidelity", "started (UTC)", "trials", "failed", box=None)
    for one in documents:
        trials = f"{one['trials']} of {one['trials_planned']}"
        failed = f"[red]{one['failed']}[/red]" if one["failed"] else "0"
        started = f"{one['started_at']:%Y-%m-%d %H:%M}"
        table.add_row(str(one["id"]), str(one["status"]), str(one["fidelity"]), started, trials, failed)
    return table


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


def _told(note: Note) -> str:
    of_host = note.kind in (NoteKind.POWER_CYCLED, NoteKind.QUARANTINED)
    return f"{note.subject}: {note.text}" if of_host else note.text
