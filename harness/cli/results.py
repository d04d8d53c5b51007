"""`nohype results`: results for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.campaign_data import CampaignArgument, find
from harness.cli.common import out

app = typer.Typer(no_args_is_help=True, help="Results for other programs. To look at them: nohype compare, report.")


@app.callback()
def results() -> None:
    """Results for other programs. To look at them: nohype compare, nohype report."""


@app.command()
def export(
    campaign: CampaignArgument = None,
    fmt: Annotated[str, typer.Option("--format", metavar="csv|parquet|json", help="What to write.")] = "csv",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Default: the campaign's id with the format as ending, here."
        ),
    ] = None,
) -> None:
    """Write every trial of a campaign, failed ones too, to a new file and print its path.

    csv and parquet have one row for each metric, and one for each vCPU and exit reason, of each trial. json has
    everything: blocks, fingerprints and the final counts of every guest as well.

    Examples:

      nohype results export --format parquet

      nohype results export quickstart --format json -o quickstart.json
    """
    from harness.results.export import export as write
    from harness.results.store import Store

    with Store() as store:
        found = find(store, campaign)
        path = write(store, found.id, fmt, output or Path(f"{found.id}.{fmt}"))
    out.print(str(path), soft_wrap=True, markup=False)
