"""`nohype quickstart`: from nothing to a comparison of stacks on the emulated rack."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import VerboseOption, err, out, step
from harness.errors import ExitCode
from harness.paths import repo_root
from harness.rack import control
from harness.rack.description import default_rack_file
from harness.rack.layout import rack_inventory


def quickstart(
    *,
    down: Annotated[bool, typer.Option("--down", help="Take the rack down at the end.")] = False,
    verbose: VerboseOption = False,
) -> None:
    """Bring up the emulated rack, run campaigns/quickstart.yml on it, compare the stacks, write the report.

    Needs root, no lab hardware. It says first how long it takes on this machine and what it needs; with too little disk
    or memory it ends there, with exit code 3. What was built is kept: a second run begins with the hosts already up and
    provisioned.
    """
    from harness.cli.campaign_data import find
    from harness.cli.campaign_progress import Display
    from harness.cli.campaign_run import start, tell
    from harness.cli.report import write
    from harness.cli.tables import comparison_view
    from harness.report.source import comparison_of
    from harness.report.words import duration
    from harness.results.store import Store

    begun, begun_at = time.monotonic(), datetime.now(UTC)
    file = repo_root() / "campaigns" / "quickstart.yml"
    campaign_seconds = prepare(file, begun)
    outcome = start(file, rack_inventory(), display=Display(verbose, begun_at, campaign_seconds))
    if outcome.exit_code == ExitCode.INTERRUPTED:
        tell(outcome)
        raise typer.Exit(outcome.exit_code)
    with Store() as store:
        record = find(store, outcome.campaign_id)
        comparison = comparison_of(store, record)
        report = write(store, record)
        out.print(comparison_view(comparison))
    tell(outcome, most=1)
    out.print(f"report: {report}", markup=False, soft_wrap=True)
    if down:
        with step("rack down"):
            control.down()
    rack = "" if down else " The rack is still up: look around (nohype hosts), or end it: nohype rack down"
    err.print(f"quickstart took {duration(time.monotonic() - begun)}.{rack}", soft_wrap=True)
    if outcome.exit_code != ExitCode.OK or comparison.unexplained:
        raise typer.Exit(outcome.exit_code or ExitCode.FAILED)


def prepare(file: Path, begun: float) -> float:
    """Bring up the rack and build what the campaign in `file` needs, side by side; the seconds the campaign will take.

    Nothing is compiled any more when it returns. What is needed is told first. `begun`: when the quickstart was, by
    time.monotonic(). Ctrl-C takes down a rack that was not up before. Raises UnavailableError where room is missing.
    """
    from harness.campaign.spec import CampaignSpec
    from harness.cli.needs import needs, needs_view
    from harness.cli.progress import Steps
    from harness.config import load
    from harness.kernel import recipe
    from harness.kernel.build import build as build_kernel
    from harness.parallel import side_by_side
    from harness.provision.stacks import needs_kernel
    from harness.toolbox.process import require_root

    require_root("the emulated rack")
    spec, _ = load(file, CampaignSpec)
    kernel = any(needs_kernel(stack) for stack in spec.stacks)
    found = needs(default_rack_file(), kernel=kernel)
    err.print(f"[bold]quickstart[/bold]: {', '.join(spec.stacks)} compared on an emulated rack, with a report")
    err.print(needs_view(found))
    found.check()
    there_was_one = rack_inventory().exists()
    try:
        with Steps(err, begun=begun, left=found.estimate.left).shown() as steps:
            works: list[Callable[[], object]] = [lambda: control.up(default_rack_file(), steps.step, replace=True)]
            if kernel:
                works.append(lambda: build_kernel(recipe.chosen(), steps.step))
            side_by_side(*works)
    except KeyboardInterrupt:
        if not there_was_one:
            control.down()
        raise
    return found.estimate.campaign
