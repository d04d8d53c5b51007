"""Assemble the command line from its groups."""

from __future__ import annotations

from typing import Annotated

import typer

from harness import __version__
from harness.cli import campaign, exits, guest, hosts, image, kernel, metrics, nightly, rack, results
from harness.cli.common import out
from harness.cli.compare import compare
from harness.cli.doctor import doctor
from harness.cli.provision import provision
from harness.cli.quickstart import quickstart
from harness.cli.report import report
from harness.cli.serve import serve

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=(
        "The NoHype testbed: provision hosts, run guests and workloads on them, count VM exits, compare stacks.\n\n"
        "No lab hardware? [bold]nohype quickstart[/bold] does it all on an emulated rack."
    ),
    epilog=(
        "Exit codes: 0 done, 1 done but something failed, 2 bad input, 3 something is missing, "
        "4 worse than before, 130 interrupted. Start with: nohype doctor"
    ),
)
app.command()(quickstart)
app.command()(doctor)
app.add_typer(rack.app, name="rack")
app.add_typer(hosts.app, name="hosts")
app.command()(provision)
app.add_typer(image.app, name="image")
app.add_typer(kernel.app, name="kernel")
app.add_typer(guest.app, name="guest")
app.add_typer(campaign.app, name="campaign")
app.add_typer(nightly.app, name="nightly")
app.add_typer(exits.app, name="exits")
app.command()(compare)
app.command()(report)
app.command()(serve)
app.add_typer(results.app, name="results")
app.add_typer(metrics.app, name="metrics")


def _version(asked: bool) -> None:
    if asked:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the command as a whole."""
    del version  # acted on by its callback
