"""Runs a campaign on a LocalLab as `nohype campaign run` does on hosts; a process of its own, so that it can be killed.

local_controller.py LAB_FOLDER CAMPAIGN_FILE OPTIONS_JSON [CAMPAIGN_ID]
Options: hosts, faults, kill_after. Prints the campaign's id first, and how it ended last.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

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


def main() -> int:
    root, file, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    nowhere = root / "inventory.yml"
    hosts = tuple(
        Host(name, "127.0.0.1", number, "nobody", nowhere, nowhere, Fidelity.EMULATED)
        for number, name in enumerate(options.get("hosts", ["alpha"]), start=1)
    )
    campaign = load_campaign(file, load_workloads(root / "workloads"), Inventory(nowhere, hosts))
    with Store() as store:
        record = store.campaign(sys.argv[4]) if len(sys.argv) > 4 else register(store, campaign, nowhere)
        print(record.id, flush=True)
        recorded, stop = folders.read(record.id), Stop()
        lab = LocalLab(root, options.get("faults", []), options.get("kill_after", 0))
        emit = EventLog(recorded.folder / folders.EVENTS).emit
        with folders.controlling(record.id), interruptible(stop):
            run = Run(record, recorded.spec, recorded.plan, recorded.workloads, store, lab, recorded.folder, emit, stop)
            outcome = engine.execute(run)
    print(json.dumps(asdict(outcome)))
    return outcome.exit_code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HarnessError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
