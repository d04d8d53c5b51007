"""`nohype report`: a campaign as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.campaign_data import AllowOption, BaselineOption, CampaignArgument, find
from harness.cli.common import out, step

if TYPE_CHECKING:
    from harness.results.model import CampaignRecord
    from harness.results.store import Store


def report(
    campaign: CampaignArgument = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: report.html among the campaign's artifacts."),
    ] = None,
    baseline: BaselineOption = None,
    allow_differences: AllowOption = "",
) -> None:
    """Write a campaign's report and print its path: one HTML file that needs no network, figures included.

    Links to artifacts are relative; move the report together with the folder it is in.

    Examples:

      nohype report

      nohype report quickstart -o quickstart.html
    """
    from harness.results.store import Store

    with Store() as store:
        path = write(store, find(store, campaign), output, baseline, allow_differences)
    out.print(str(path), soft_wrap=True, markup=False)


def write(
    store: Store,
    campaign: CampaignRecord,
    output: Path | None = None,
    baseline: str | None = None,
    allowed: str = "",
) -> Path:
    """Write the report of one campaign, with progress; its path."""
    from harness.report.html import write_report
    from harness.report.source import report_input

    source = report_input(store, campaign, baseline, allowed)
    with step("report"):
        return write_report(output or source.artifacts / "report.html", source)
