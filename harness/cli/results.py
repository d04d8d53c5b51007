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
    fmt: Annotated[
        str, typer.Option("--format", metavar="csv|parquet|json|openmetrics", help="What to write.")
    ] = "csv",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Default: the campaign's id with the format as ending, here."
        ),
    ] = None,
) -> None:
    """Write every trial of a campaign, failed ones too, to a new file and print its path.

    csv and parquet have one row for each metric, and one for each vCPU and exit reason, of each trial. json has
    everything: blocks, fingerprints and the final counts of every guest as well. openmetrics has the metrics that
    `nohype metrics serve` would have served, each with its time, for promtool tsdb create-blocks-from openmetrics.

    Examples:

      nohype results export --format parquet

      nohype results export quickstart --format json -o quickstart.json
    """
    from harness.results.export import export as write
    from harness.results.store import Store
    from harness.telemetry.backfill import write as write_openmetrics

    with Store() as store:
        found = find(store, campaign)
        path = output or Path(f"{found.id}.{fmt}")
        path = write_openmetrics(store, found, path) if fmt == "openmetrics" else write(store, found.id, fmt, path)
    out.print(str(path), soft_wrap=True, markup=False)


@app.command()
def backfill(
    data: Annotated[
        Path,
        typer.Option("--data", metavar="FOLDER", help="The data folder of a Prometheus server (--storage.tsdb.path)."),
    ],
    campaign: CampaignArgument = None,
) -> None:
    """Add the history of a campaign that has ended to a Prometheus server's data, so that dashboards show it.

    The server may run meanwhile, and finds the new blocks by itself. It must keep data for as long as the campaign is
    old (--storage.tsdb.retention.time), or it drops them.

    Example: sudo nohype results backfill quickstart --data /var/lib/prometheus/metrics2
    """
    from harness.results.store import Store
    from harness.telemetry.backfill import backfill as add

    with Store() as store:
        for block in add(store, find(store, campaign), data.absolute()):
            out.print(str(block), soft_wrap=True, markup=False)
