"""`nohype quickstart`: from nothing to a comparison of stacks on the emulated rack."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from harness.cli.common import err, out, step
from harness.errors import ExitCode
from harness.paths import repo_root
from harness.rack import control
from harness.rack.description import default_rack_file
from harness.rack.layout import rack_inventory


def quickstart(
    down: Annotated[bool, typer.Option("--down", help="Take the rack down at the end.")] = False,
) -> None:
    """Bring up the emulated rack, run campaigns/quickstart.yml on it, compare the stacks, write the report.

    Needs root, no lab hardware. What was built is kept: a second run begins with the hosts already up and provisioned.
    """
    from harness.cli.campaign_data import comparison_of, find
    from harness.cli.campaign_run import start
    from harness.cli.report import write
    from harness.cli.tables import comparison_view
    from harness.results.store import Store

    begun = time.monotonic()
    control.up(default_rack_file(), step, replace=True)
    outcome = start(repo_root() / "campaigns" / "quickstart.yml", rack_inventory())
    if outcome.exit_code == ExitCode.INTERRUPTED:
        raise typer.Exit(outcome.exit_code)
    with Store() as store:
        record = find(store, outcome.campaign_id)
        out.print(comparison_view(comparison_of(store, record, "kvm")))
        report = write(store, record)
    for line in outcome.disagreements:
        out.print("Prometheus disagrees:", line, markup=False, soft_wrap=True)
    out.print(f"report: {report}", markup=False, soft_wrap=True)
    err.print(f"quickstart took {time.monotonic() - begun:.0f} s")
    if down:
        with step("rack down"):
            control.down()
    else:
        err.print("The rack is still up; look around (nohype hosts), run it again, or end it: nohype rack down")
    if outcome.exit_code != ExitCode.OK:
        raise typer.Exit(outcome.exit_code)
