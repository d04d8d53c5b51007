"""Nights and changes as tables and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.nightly.digest import figures, sentence, suspect_words
from harness.nightly.model import Change
from harness.nightly.presence import controller, in_process, node
from harness.nightly.schedule import next_due, too_late, unrecorded
from harness.nightly.spec import installed_spec
from harness.results.model import CampaignRecord, ChangeKind, NightlyRecord, NightStatus
from harness.results.store import Store

COLOURS = {
    "ok": "green",
    "running": "cyan",
    "due": "cyan",
    "regressed": "yellow",
    "worse": "red",
    "better": "green",
    "different": "cyan",
}
_SUSPECTS = 8


def nights_document(store: Store, nightly: NightlyRecord, now: datetime, last: int) -> dict[str, object]:
    """The nightly's nights, the latest first, those that left no trace too."""
    spec = installed_spec(nightly)
    recorded = store.nights(nightly.name)
    nights: list[dict[str, object]] = [
        {
            "night": one.night,
            "due_at": one.due_at,
            "status": "interrupted"
            if one.status is NightStatus.RUNNING and not in_process(nightly.name)
            else one.status,
            "reason": one.reason,
            "campaign": one.campaign_id,
            "started_at": one.started_at,
            "ended_at": one.ended_at,
            "digest": one.digest,
        }
        for one in recorded
    ]
    here = nightly.node == node()
    process = controller() if here else None
    for each in unrecorded(spec, nightly.installed_at, recorded, now):
        late = too_late(spec, each.at, now)
        nights.append(
            {
                "night": each.night,
                "due_at": each.at,
                "status": "missed" if late else "due",
                "reason": "" if process is not None or not here else "no controller is running",
                "campaign": "",
                "started_at": None,
                "ended_at": None,
                "digest": "",
            }
        )
    nights.sort(key=lambda one: (str(one["due_at"]), str(one["night"])), reverse=True)
    return {
        "nightly": nightly.name,
        "campaign": nightly.campaign,
        "node": nightly.node,
        "controller": process,
        "next": next_due(spec, now).at,
        "nights": nights[:last],
    }


def nights_view(document: dict[str, object]) -> RenderableType:
    table = Table("night", "status", "took", "campaign", "", box=None)
    nights = document["nights"]
    assert isinstance(nights, list)
    for one in nights:
        status = str(one["status"])
        colour = COLOURS.get(status, "red")
        took = ""
        if one["started_at"] and one["ended_at"]:
            minutes = round((one["ended_at"] - one["started_at"]).total_seconds() / 60)
            took = f"{minutes // 60}:{minutes % 60:02} h"
        lines = [one["reason"], f"digest {one['digest']}" if "not sent" in one["digest"] else ""]
        more = escape("; ".join(filter(None, lines)))
        table.add_row(one["night"], f"[{colour}]{status}[/{colour}]", took, escape(one["campaign"]), more)
    process = document["controller"]
    running = f"controller: process {process}" if process is not None else f"no controller runs on {document['node']}"
    next_one = document["next"]
    assert isinstance(next_one, datetime)
    foot = Text(f"next night: {next_one:%Y-%m-%d %H:%M} UTC; {running}", "dim" if process is not None else "yellow")
    head = Text.assemble((str(document["nightly"]), "bold"), f", campaign {document['campaign']}")
    return Group(head, table if nights else Text("no night was due yet"), foot)


def trend_view(
    campaign: str, campaigns: Sequence[CampaignRecord], changes: Sequence[Change], *, hidden: int
) -> RenderableType:
    parts: list[RenderableType] = []
    if not campaigns:
        return Text(f"no campaign {campaign} has come to its end yet: there is no history")
    parts.append(
        Text(
            f"{len(campaigns)} campaigns {campaign}, {campaigns[0].started_at:%Y-%m-%d} to "
            f"{campaigns[-1].started_at:%Y-%m-%d}"
        )
    )
    for change in changes:
        parts.append(_change(change))
    if not changes:
        parts.append(Text("nothing has changed", "green"))
    if hidden:
        parts.append(Text(f"{hidden} more are acknowledged or have recovered: --all shows them", "dim"))
    return Group(*parts)


def _change(change: Change) -> RenderableType:
    colour = COLOURS.get(change.kind, "red")
    state = "" if change.state == "open" else f", {change.state}"
    lines = [
        Text.assemble(
            (f"{change.id} ", "bold"),
            (f"{change.kind}{state} ", colour if not state else "dim"),
            f"{sentence(change)}: {figures(change)}",
        ),
        Text(
            f"  since {change.at:%Y-%m-%d} ({change.campaign_id}), {change.nights_after} nights; p={change.p_value:.1g}"
        ),
    ]
    if change.note:
        lines.append(Text(f"  {change.note}", "dim"))
    for one in change.suspects[:_SUSPECTS]:
        lines.append(Text(f"  suspect: {suspect_words(one)}"))
    if change.kind is ChangeKind.WORSE and not change.suspects:
        lines.append(Text("  nothing else is known to have changed then", "dim"))
    return Group(*lines)
