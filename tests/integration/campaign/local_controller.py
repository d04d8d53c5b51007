"""Runs a campaign on a LocalLab as `nohype campaign run` does on hosts; for a process of its own, which can be killed.

Arguments: LAB_FOLDER CAMPAIGN_FILE OPTIONS_JSON [CAMPAIGN_ID]
Options: hosts, faults, kill_after. Prints the campaign's id first, and how it ended last.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from local_lab import LocalLab

from harness.campaign import engine
from harness.campaign import folder as folders
from harness.campaign.events import EventLog
from harness.campaign.register import register
from harness.campaign.run import Run, Stop
from harness.campaign.spec import load_campaign
from harness.cli.campaign_run import interruptible
from harness.errors import HarnessError
from harness.hosts.inventory import Inventory
from harness.hosts.model import Host
from harness.results.model import Fidelity
from harness.results.store import Store
from harness.workloads.spec import load_workloads


def main(*words: str) -> int:
    """Its exit code, as that of the command line."""
    try:
        return _run(Path(words[0]), Path(words[1]), json.loads(words[2]), *words[3:])
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run(root: Path, file: Path, options: dict[str, Any], campaign_id: str = "") -> int:
    nowhere = root / "inventory.yml"
    hosts = tuple(
        Host(name, "127.0.0.1", number, "nobody", nowhere, nowhere, Fidelity.EMULATED)
        for number, name in enumerate(options.get("hosts", ["alpha"]), start=1)
    )
    campaign = load_campaign(file, load_workloads(root / "workloads"), Inventory(nowhere, hosts))
    with Store() as store:
        record = store.campaign(campaign_id) if campaign_id else register(store, campaign, nowhere)
        print(record.id, flush=True)
        recorded, stop = folders.read(record.id), Stop()
        lab = LocalLab(root, options.get("faults", []), options.get("kill_after", 0))
        emit = EventLog(recorded.folder / folders.EVENTS).emit
        with folders.controlling(record.id), interruptible(stop):
            run = Run(record, recorded.spec, recorded.plan, recorded.workloads, store, lab, recorded.folder, emit, stop)
            outcome = engine.execute(run)
    print(json.dumps(asdict(outcome)))
    return outcome.exit_code
