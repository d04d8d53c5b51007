"""Nights on a LocalLab, as `nohype nightly run` and `nohype nightly daemon` are on hosts; processes of their own.

local_nightly.py LAB_FOLDER OPTIONS_JSON run NIGHTLY [NIGHT] [--scheduled]
local_nightly.py LAB_FOLDER OPTIONS_JSON daemon
Options: faults, kill_after, as of local_controller.py.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from local_lab import LocalLab

from harness.campaign import engine
from harness.campaign import folder as folders
from harness.campaign.events import EventLog
from harness.campaign.register import CANCELLED, Outcome, register
from harness.campaign.run import Run, Stop
from harness.campaign.spec import load_campaign
from harness.cli.campaign_run import interruptible
from harness.cli.nightly_run import run_one, tell
from harness.errors import HarnessError
from harness.hosts.inventory import Inventory
from harness.hosts.model import Host
from harness.nightly.daemon import serve
from harness.nightly.night import exit_code
from harness.nightly.presence import find_nightly
from harness.results.model import Fidelity, NightlyRecord
from harness.results.store import Store
from harness.workloads.spec import load_workloads


class LocalCampaigns:
    """See harness.nightly.night.Campaigns."""

    def __init__(self, store: Store, root: Path, options: dict[str, object]) -> None:
        self._store = store
        self._root = root
        self._lab = LocalLab(root, options.get("faults", []), options.get("kill_after", 0))  # type: ignore[arg-type]

    def begin(self, nightly: NightlyRecord) -> str:
        nowhere = Path(nightly.inventory)
        hosts = (Host("alpha", "127.0.0.1", 1, "nobody", nowhere, nowhere, Fidelity.EMULATED),)
        workloads = load_workloads(self._root / "workloads")
        campaign = load_campaign(Path(nightly.campaign_file), workloads, Inventory(nowhere, hosts))
        return register(self._store, campaign, nowhere).id

    def run(self, campaign_id: str) -> Outcome:
        recorded, stop = folders.read(campaign_id), Stop()
        emit = EventLog(recorded.folder / folders.EVENTS).emit
        record = self._store.campaign(campaign_id)
        with folders.controlling(campaign_id), interruptible(stop):
            run = Run(
                record,
                recorded.spec,
                recorded.plan,
                recorded.workloads,
                self._store,
                self._lab,
                recorded.folder,
                emit,
                stop,
            )
            return engine.execute(run)

    def abandon(self, campaign_id: str) -> None:
        with folders.controlling(campaign_id):
            engine.cancel(campaign_id)
            self._store.set_campaign_status(campaign_id, CANCELLED, datetime.now(UTC))


def main(*words: str) -> int:
    """Its exit code, as that of the command line."""
    try:
        return _run(*words)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run(folder: str, options_json: str, what: str, *words: str) -> int:
    root, options = Path(folder), json.loads(options_json)
    if what == "daemon":

        def argv(name: str, night: str) -> list[str]:
            return [sys.executable, __file__, folder, options_json, "run", name, night, "--scheduled"]

        stop = Stop()
        with interruptible(stop):
            serve(argv, lambda text: print(text, flush=True), stop, look_seconds=0.2, again_seconds=0.2)
        return 0
    name, *night = [word for word in words if word != "--scheduled"]
    with Store() as store:
        nightly = find_nightly(store, name)
        campaigns = LocalCampaigns(store, root, options)
        found = run_one(store, nightly, campaigns, night[0] if night else None, force="--scheduled" not in words)
    tell(found)
    return exit_code(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
