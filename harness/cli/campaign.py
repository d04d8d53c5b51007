"""`nohype campaign`: measure."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from harness.cli.campaign_data import CampaignArgument, find
from harness.cli.campaign_run import abandon, check_hosts, execute, read_campaign, start, tell
from harness.cli.common import InventoryOption, JsonOption, VerboseOption, default_inventory, err, out, print_json, step
from harness.errors import ExitCode, InputError, UnavailableError

if TYPE_CHECKING:
    from harness.campaign.register import Outcome

app = typer.Typer(
    no_args_is_help=True,
    help="Campaigns: boot hosts into stacks, run workloads in guests, count VM exits. A campaign survives Ctrl-C and "
    "the death of this command; `resume` goes on at the very trial.\n\n"
    "Example: nohype campaign validate campaigns/quickstart.yml && nohype campaign run campaigns/quickstart.yml",
)

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A campaign file, e.g. campaigns/quickstart.yml.", show_default=False)
]
WorkloadsOption = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Where workload files are. Default: workloads/ of this checkout."),
]


@app.command()
def validate(
    file: FileArgument,
    inventory: InventoryOption = None,
    workloads: WorkloadsOption = None,
    hosts: Annotated[bool, typer.Option("--hosts", help="Also ask the hosts whether guests fit them.")] = False,
    json: JsonOption = False,
) -> None:
    """Check a campaign file: keys, types, stacks, workloads, hosts; nothing is started.

    Errors name file, line and key, and the nearest right name. Exit code 2 for a wrong file.

    Example: nohype campaign validate campaigns/quickstart.yml --hosts
    """
    from harness.campaign.register import uses
    from harness.report import words

    campaign = read_campaign(file, default_inventory(inventory), workloads)
    if hosts:
        check_hosts(campaign)
    trials = sum(use.repeats for use in uses(campaign))
    blocks = len(campaign.hosts) * len(campaign.spec.stacks) * campaign.spec.boots
    if json:
        names = [host.name for host in campaign.hosts]
        print_json({"name": campaign.spec.name, "hosts": names, "blocks": blocks, "trials": blocks * trials})
        return
    out.print(
        f"{escape(str(file))} is right: {words.count(len(campaign.hosts), 'host')} x "
        f"{words.count(len(campaign.spec.stacks), 'stack')} x {words.count(campaign.spec.boots, 'boot')} = "
        f"{words.count(blocks, 'block')} of {words.count(trials, 'trial')}",
        soft_wrap=True,
    )


@app.command()
def plan(
    file: FileArgument,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: the file's, else 0.")] = None,
    inventory: InventoryOption = None,
    workloads: WorkloadsOption = None,
    json: JsonOption = False,
) -> None:
    """Show which blocks and trials a campaign would consist of, in which order.

    The order is random, and decided by the seed: the same seed gives the same order. `run` draws a seed where the
    file names none, and keeps it with the results.

    Example: nohype campaign plan campaigns/quickstart.yml --seed 7
    """
    from harness.campaign.plan import make_plan
    from harness.campaign.register import uses

    campaign = read_campaign(file, default_inventory(inventory), workloads)
    spec = campaign.spec
    made = make_plan(
        spec.name,
        seed if seed is not None else spec.seed or 0,
        hosts=[host.name for host in campaign.hosts],
        stacks=spec.stacks,
        boots=spec.boots,
        uses=uses(campaign),
    )
    if json:
        print_json(made)
        return
    table = Table("block", "host", "stack", "boot", "trials, in order", box=None)
    for block in made.blocks:
        trials = ", ".join(f"{trial.workload} {trial.repeat}" for trial in block.trials)
        table.add_row(str(block.number), block.host, block.stack, str(block.boot), trials)
    out.print(table)
    asked = sum(trial.seconds for block in made.blocks for trial in block.trials)
    out.print(
        f"seed {made.seed}; {made.trials} trials, {asked} s of workloads, besides {len(made.blocks)} host boots",
        soft_wrap=True,
    )


@app.command()
def run(
    file: FileArgument,
    inventory: InventoryOption = None,
    workloads: WorkloadsOption = None,
    new: Annotated[
        bool, typer.Option("--new", help="Begin anew even if a campaign of this file was interrupted.")
    ] = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Run a campaign, or go on with an interrupted one of the very same file.

    Hosts are provisioned where they need it, booted into each stack, and cleared of guests; guests that others made
    on them are ended as well. Ctrl-C ends the current trial, clears the hosts and stops; `resume` goes on.

    Exit codes: 0 all is well; 1 trials failed, or Prometheus counted otherwise; 2 wrong input; 3 something is missing;
    130 interrupted.

    Example: nohype campaign run campaigns/quickstart.yml
    """
    from harness.cli.campaign_progress import Display

    display = Display(verbose)
    finish(start(file, default_inventory(inventory), workloads=workloads, new=new, display=display), as_json=json)


@app.command()
def resume(
    campaign: CampaignArgument = None,
    inventory: Annotated[
        Path | None,
        typer.Option("--inventory", "-i", help="Default: the one the campaign was begun with.", show_default=False),
    ] = None,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Go on with an interrupted campaign: after Ctrl-C, a crash, a reboot of the control node.

    Trials that are stored are not run again; the one that was being run is.

    Example: nohype campaign resume
    """
    from harness.campaign.register import INTERRUPTED, status_now
    from harness.cli.campaign_progress import Display
    from harness.results.store import Store

    with Store() as store:
        interrupted = [record.id for record in store.campaigns() if status_now(record) == INTERRUPTED]
        outcome = execute(store, find(store, campaign or next(iter(interrupted), None)), inventory, Display(verbose))
    finish(outcome, as_json=json)


@app.command()
def status(campaign: CampaignArgument = None, json: JsonOption = False) -> None:
    """Show how far a campaign is: its blocks, failures, warnings.

    Example: nohype campaign status --json
    """
    from harness.campaign import folder as folders
    from harness.campaign.documents import status_document
    from harness.campaign.register import status_now
    from harness.cli.campaign_tables import status_view
    from harness.results.store import Store

    with Store() as store:
        record = find(store, campaign)
        planned = folders.read(record.id).plan if folders.is_here(record.id) else None
        if json:
            print_json(status_document(store, record, status_now(record), planned))
        else:
            out.print(status_view(store, record, status_now(record), planned))


@app.command()
def watch(
    campaign: Annotated[
        str | None,
        typer.Argument(
            metavar="[CAMPAIGN]",
            help="Its id, the beginning of it, or a name. Default: the one that runs, else the latest.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print each event as one JSON document a line, and how it ended as the last.")
    ] = False,
) -> None:
    """Follow a campaign that another process runs: what hosts do, trials, failures, time left.

    It ends with the campaign, and with the exit code that `campaign run` ends with. Ctrl-C ends the watching alone;
    the campaign goes on. Where stdout is no terminal, trials, finished steps and failures are printed line by
    line, from the campaign's beginning.

    Examples:

      nohype campaign watch

      nohype campaign watch nightly | grep ✗
    """
    from harness.campaign.follow import Follower
    from harness.campaign.register import RUNNING, outcome, status_now
    from harness.cli.campaign_watch import watch as watch_campaign
    from harness.results.store import Store

    with Store() as store:
        running = [record.id for record in store.campaigns() if status_now(record) == RUNNING]
        record = find(store, campaign or next(iter(running), None))
        try:
            status = watch_campaign(Follower(store, record), out, as_json=json)
        except KeyboardInterrupt:
            err.print(f"the watching has ended; {record.id} goes on", soft_wrap=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        ended = outcome(store, record.id, status)
    if json:
        print_json(asdict(ended), indent=None)
        raise typer.Exit(ended.exit_code)
    finish(ended, as_json=False)


@app.command("list")
def list_command(json: JsonOption = False) -> None:
    """Show all campaigns, the latest first."""
    from harness.campaign.documents import list_documents
    from harness.cli.campaign_tables import list_view
    from harness.results.store import Store

    with Store() as store:
        documents = list_documents(store)
    if json:
        print_json(documents)
    elif documents:
        out.print(list_view(documents))
    else:
        out.print("no campaigns yet; start one: nohype campaign run campaigns/quickstart.yml")


@app.command()
def cancel(campaign: CampaignArgument = None) -> None:
    """End a campaign for good; what it has measured stays.

    A campaign that is being run ends its current trial and clears its hosts; this command waits for that.

    Example: nohype campaign cancel quickstart-20260101-120000
    """
    from harness.campaign import folder as folders
    from harness.campaign.register import CANCELLED, DONE
    from harness.results.model import Note, NoteKind
    from harness.results.store import Store
    from harness.wait import until

    with Store() as store:
        record = find(store, campaign)
        if record.status in (DONE, CANCELLED):
            raise InputError(f"the campaign is {record.status} already", where=record.id)
        if not folders.is_here(record.id):
            raise UnavailableError("the campaign was begun on another control node", where=record.id)
        if folders.controller(record.id) is not None:
            store.add_note(Note(record.id, NoteKind.CANCEL, "", "", datetime.now(UTC)))
            with step(f"{record.id}: waiting until its trial has ended and its hosts are clear"):
                until(
                    lambda: folders.controller(record.id) is None, seconds=1800, what="end of the campaign", interval=1
                )
        status = store.campaign(record.id).status
        if status == DONE:
            out.print(f"{record.id} came to its end before it could be cancelled", soft_wrap=True)
            return
        if status != CANCELLED:
            abandon(store, record.id)
    out.print(f"{record.id} is cancelled; its results stay: nohype compare {record.id}", soft_wrap=True)


def finish(outcome: Outcome, *, as_json: bool) -> None:
    """Say how the campaign went, and leave with its exit code."""
    from harness.results.artifacts import campaign_folder

    if as_json:
        print_json(asdict(outcome) | {"artifacts": campaign_folder(outcome.campaign_id)})
    else:
        tell(outcome)
    if outcome.exit_code != ExitCode.OK:
        raise typer.Exit(outcome.exit_code)
