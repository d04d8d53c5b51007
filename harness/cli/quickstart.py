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
    from harness.cli.campaign_data import find
    from harness.cli.campaign_run import read_campaign, start, tell
    from harness.cli.report import write
    from harness.cli.tables import comparison_view
    from harness.kernel import recipe
    from harness.kernel.build import build as build_kernel
    from harness.provision.stacks import needs_kernel
    from harness.report.source import comparison_of
    from harness.results.store import Store

    begun = time.monotonic()
    control.up(default_rack_file(), step, replace=True)
    file = repo_root() / "campaigns" / "quickstart.yml"
    if any(needs_kernel(stack) for stack in read_campaign(file, rack_inventory()).spec.stacks):
        build_kernel(recipe.chosen(), step)
    outcome = start(file, rack_inventory())
    if outcome.exit_code == ExitCode.INTERRUPTED:
        tell(outcome)
        raise typer.Exit(outcome.exit_code)
    with Store() as store:
        record = find(store, outcome.campaign_id)
        comparison = comparison_of(store, record)
        out.print(comparison_view(comparison))
        report = write(store, record)
    tell(outcome)
    out.print(f"report: {report}", markup=False, soft_wrap=True)
    err.print(f"quickstart took {time.monotonic() - begun:.0f} s")
    if down:
        with step("rack down"):
            control.down()
    else:
        err.print("The rack is still up; look around (nohype hosts), run it again, or end it: nohype rack down")
    if outcome.exit_code != ExitCode.OK or comparison.unexplained:
        raise typer.Exit(outcome.exit_code or ExitCode.FAILED)
