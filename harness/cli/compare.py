"""`nohype compare`: the stacks of a campaign side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from harness.cli.campaign_data import AllowOption, BaselineOption, CampaignArgument, find
from harness.cli.common import JsonOption, out, print_json
from harness.errors import ExitCode

if TYPE_CHECKING:
    from harness.analysis.model import Comparison
    from harness.results.model import CampaignRecord


def compare(
    campaign: CampaignArgument = None,
    baseline: BaselineOption = None,
    allow_differences: AllowOption = "",
    details: Annotated[
        bool, typer.Option("--details", help="Every ratio with its 95 % interval, exits by reason, what differed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the stacks of a campaign: VM exits first, then what the workloads measured.

    Better and worse mean that the 95 % interval of the ratio leaves out 1; no difference, that all of it is within a
    small margin of 1; not decided, that it includes 1 but is wider. What stands behind a figure is the number of boots,
    not of trials; with a single boot there is no verdict. Of emulated hosts VM exits alone are judged. A campaign that
    is still running is compared as far as it is. Of a campaign of one stack with four boots or more, two random halves
    of the boots are compared: they should show no difference.

    Facts of hosts and guests that differ between stacks are listed with the reason for it. Where a fact differs that
    nothing explains, the exit code is 1 unless --allow-differences names it.

    Examples:

      nohype compare

      nohype compare --details

      nohype compare quickstart --baseline kvm-tuned --json

      nohype compare --allow-differences cpu.microcode,'mitigations.*'
    """
    from harness.report.source import comparison_of
    from harness.results.store import Store

    with Store() as store:
        found = find(store, campaign)
        comparison = comparison_of(store, found, baseline, allow_differences)
    if as_json:
        print_json(asdict(comparison) | {"unexplained": comparison.unexplained})
    else:
        _show(found, comparison, details=details)
    if comparison.unexplained:
        raise typer.Exit(ExitCode.FAILED)


def _show(found: CampaignRecord, comparison: Comparison, *, details: bool) -> None:
    from harness.cli.detail_tables import details_view
    from harness.cli.tables import comparison_view

    out.print(Text.assemble((found.id, "bold"), (f" {found.started_at:%Y-%m-%d %H:%M %Z}, {found.status}", "dim")))
    out.print(details_view(comparison) if details else comparison_view(comparison))
