"""A campaign's folder: all that is needed to go on with it later, and the lock of the controller that runs it.

campaign.yml   the campaign file, to the letter
run.json       inventory, plan, and the workloads as they were
events.jsonl   what happened (harness.campaign.events)
lock           held by the controller; holds its process id
blocks/        one folder a block, in it one a trial
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.campaign.plan import Plan, from_document, to_document
from harness.campaign.spec import CampaignSpec
from harness.config import load, validate
from harness.errors import InputError, UnavailableError
from harness.results import presence
from harness.results.artifacts import campaign_folder, new_folder, write_json, write_text
from harness.workloads.spec import Workload

EVENTS = "events.jsonl"
# Of the plan and of the steps that carry it out; a campaign is resumed only by the version that began it.
FLOW_VERSION = "1"


@dataclass(frozen=True)
class Recorded:
    """What `write` kept."""

    folder: Path
    inventory: Path
    spec: CampaignSpec
    plan: Plan
    workloads: dict[str, Workload]


def new_id(name: str) -> str:
    """An id for a new campaign, by name and time; its folder is made. Raises StorageError."""
    parent = campaign_folder("x").parent
    return new_folder(parent, f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}").name


def write(campaign_id: str, text: str, inventory: Path, plan: Plan, workloads: dict[str, Workload]) -> Path:
    """Keep what a campaign is, in the folder that `new_id` made. Raises StorageError."""
    folder = campaign_folder(campaign_id)
    write_text(folder / "campaign.yml", text)
    document = {
        "flow": FLOW_VERSION,
        "inventory": str(inventory.absolute()),
        "plan": to_document(plan),
        "workloads": {name: workload.model_dump(mode="json", by_alias=True) for name, workload in workloads.items()},
    }
    write_json(folder / "run.json", document)
    return folder


def read(campaign_id: str) -> Recorded:
    """What `write` kept. Raises UnavailableError where it is not here or of another version of the harness."""
    folder = campaign_folder(campaign_id)
    path = folder / "run.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"the campaign cannot be read: {error}",
            where=str(path),
            fix="campaigns are resumed on the control node that began them, with the same NOHYPE_STATE",
        ) from None
    if document.get("flow") != FLOW_VERSION:
        raise UnavailableError(
            f"the campaign was begun by another version of the harness (flow {document.get('flow')}, this is "
            f"{FLOW_VERSION})",
            where=str(path),
            fix=f"resume it with that version, or end it: nohype campaign cancel {campaign_id}",
        )
    try:
        spec, _ = load(folder / "campaign.yml", CampaignSpec)
        workloads = {
            str(name): validate(found, Workload, lambda _loc: str(path))
            for name, found in document["workloads"].items()
        }
        return Recorded(folder, Path(document["inventory"]), spec, from_document(document["plan"]), workloads)
    except (InputError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise UnavailableError(f"the campaign cannot be read: {error}", where=str(path)) from None


def controlling(campaign_id: str) -> contextlib.AbstractContextManager[None]:
    """Be the campaign's controller. Raises UnavailableError where another process is. Ends with the process."""
    return presence.holding(
        _lock(campaign_id),
        lambda process: UnavailableError(
            f"the campaign is being run by process {process or '(unknown)'}",
            where=campaign_id,
            fix=f"look at it: nohype campaign status {campaign_id}",
        ),
    )


def controller(campaign_id: str) -> int | None:
    """The process that runs the campaign on this machine, None where none does."""
    return presence.holder(_lock(campaign_id))


def _lock(campaign_id: str) -> Path:
    return campaign_folder(campaign_id) / "lock"


def is_here(campaign_id: str) -> bool:
    """Whether the campaign was begun on this control node."""
    return (campaign_folder(campaign_id) / "run.json").exists()
