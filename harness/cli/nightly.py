"""`nohype nightly`: a campaign every night, and what it finds out of line."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from harness.cli.common import InventoryOption, JsonOption, default_inventory, err, out, print_json
from harness.cli.nightly_data import opened
from harness.errors import ExitCode, InputError

app = typer.Typer(
    no_args_is_help=True,
    help="Nightlies: run a campaign every night, find what got worse and since when, tell by mail or webhook.\n\n"
    "Example: nohype nightly install nightlies/nightly.yml, and in the morning: nohype nightly list",
)

NightlyArgument = Annotated[
    str | None,
    typer.Argument(metavar="[NIGHTLY]", help="Its name. Default: the only one.", show_default=False),
]


@app.command()
def install(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A nightly file, e.g. nightlies/nightly.yml.", show_default=False)
    ],
    inventory: InventoryOption = None,
    service: Annotated[
        bool, typer.Option(help="Install and start the systemd unit of the controller, which starts the nights.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Run a campaign every night from now on; a nightly of the same name is replaced, and keeps its history.

    File, campaign and inventory are checked first. As root the controller becomes a unit of the system, else one of
    your own. Exit code 2 for a wrong file, 3 where there is no systemd.

    Example: nohype nightly install nightlies/nightly.yml -i my-lab.yml
    """
    from harness.cli.campaign_run import read_campaign
    from harness.nightly.presence import installed, node
    from harness.nightly.schedule import next_due
    from harness.nightly.service import start_service
    from harness.nightly.spec import load_nightly
    from harness.results.model import NightlyRecord
    from harness.results.store import Store

    path = default_inventory(inventory).absolute()
    spec, campaign_file = load_nightly(file)
    campaign = read_campaign(campaign_file, path)
    now = datetime.now(UTC)
    record = NightlyRecord(
        name=spec.name,
        node=node(),
        spec_text=file.read_text(encoding="utf-8"),
        campaign_file=str(campaign_file),
        campaign=campaign.spec.name,
        inventory=str(path),
        installed_at=now,
        removed_at=None,
    )
    with Store() as store:
        for other in installed(store):
            if other.name == spec.name and other.node != record.node:
                raise InputError(
                    f"a nightly {spec.name!r} is installed on control node {other.node}",
                    where=str(file),
                    fix="give this one another name, or uninstall the other there",
                )
        store.set_nightly(record)
    following = next_due(spec, now)
    unit = str(start_service().path) if service else None
    if json:
        print_json({"name": spec.name, "campaign": record.campaign, "next": following.at, "unit": unit})
        return
    out.print(
        f"[bold]{spec.name}[/bold] is installed; the next night begins {following.at:%Y-%m-%d %H:%M} UTC",
        soft_wrap=True,
    )
    out.print(f"unit: {escape(unit)}" if unit else "start the controller: nohype nightly daemon", soft_wrap=True)


@app.command()
def uninstall(nightly: NightlyArgument = None) -> None:
    """Run it no more. Its nights, results and acknowledgements stay. With the last one goes the systemd unit.

    A night that is being run comes to its end, unless it is the last nightly's.
    """
    from harness.nightly.presence import find_nightly, installed_here
    from harness.nightly.service import stop_service
    from harness.results.store import Store

    with Store() as store:
        record = find_nightly(store, nightly)
        store.set_nightly(replace(record, removed_at=datetime.now(UTC)))
        left = installed_here(store)
    out.print(f"{record.name} is uninstalled")
    if not left and stop_service():
        out.print("the controller's systemd unit is removed")


@app.command()
def daemon() -> None:
    """Be the controller: start every night when it is due. What the systemd unit runs; it ends with Ctrl-C.

    One is enough for all nightlies of a control node; a second one is refused (exit code 3). Nights missed while none
    was running are run late, up to the nightly's late_hours, or recorded as missed.
    """
    from harness.campaign.run import Stop
    from harness.cli.campaign_run import interruptible
    from harness.nightly.daemon import serve

    def argv(name: str, night: str) -> list[str]:
        command = [sys.executable, "-c", "from harness.cli import main; main()"]
        return [*command, "nightly", "run", name, "--night", night, "--scheduled"]

    stop = Stop()
    with interruptible(stop):
        serve(argv, lambda text: err.print(escape(text), soft_wrap=True), stop)


@app.command()
def run(
    nightly: NightlyArgument = None,
    night: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM-DD", help="Run that night, late; or go on with it. Default: an extra one, now."),
    ] = None,
    scheduled: Annotated[bool, typer.Option("--scheduled", hidden=True)] = False,
    json: JsonOption = False,
) -> None:
    """Run a night now: measure, look for changes, tell. What the schedule calls.

    Without --night, one that was interrupted is gone on with. Exit codes: 0 all is well, 4 measured and something is
    worse than it was, 1 it failed or some trials did, 130 interrupted.

    Example: nohype nightly run nightly --night 2026-01-31
    """
    from harness.cli.nightly_run import CommandLineCampaigns, run_one, tell
    from harness.nightly.night import exit_code

    with opened(nightly) as (store, record):
        found = run_one(store, record, CommandLineCampaigns(store), night, force=not scheduled)
    if json:
        print_json(found)
    else:
        tell(found)
    if code := exit_code(found):
        raise typer.Exit(code)


@app.command("list")
def list_command(
    nightly: Annotated[
        str | None, typer.Argument(metavar="[NIGHTLY]", help="Its name. Default: all.", show_default=False)
    ] = None,
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="How many nights to show.")] = 30,
    json: JsonOption = False,
) -> None:
    """Show the past nights, the latest first, missed ones too, and when the next one is due.

    Example: nohype nightly list --json | jq '.[0].nights[0].status'
    """
    from harness.cli.nightly_tables import nights_document, nights_view
    from harness.nightly.presence import find_nightlies
    from harness.results.store import Store

    with Store() as store:
        now = datetime.now(UTC)
        documents = [nights_document(store, record, now, last) for record in find_nightlies(store, nightly)]
    if json:
        print_json(documents)
        return
    for document in documents:
        out.print(nights_view(document))


@app.command()
def trend(
    nightly: NightlyArgument = None,
    nights: Annotated[int, typer.Option(metavar="N", min=4, max=3650, help="How many campaigns back to look.")] = 120,
    every: Annotated[bool, typer.Option("--all", help="Also what is acknowledged or has recovered.")] = False,
    json: JsonOption = False,
) -> None:
    """Find what changed in the history of each metric, stack and host, since when, and what else changed then.

    Looks at all campaigns of the nightly's campaign name that came to their end, those run by hand too. Exit code 4
    where something is worse than it was and not acknowledged.

    Example: nohype nightly trend --nights 30
    """
    from harness.cli.nightly_tables import trend_view
    from harness.nightly.changes import find_changes
    from harness.nightly.history import campaigns_of
    from harness.nightly.model import State

    with opened(nightly) as (store, record):
        campaigns = campaigns_of(store, record.campaign, nights)
        found = find_changes(store, record.campaign, nights)
    shown = [change for change in found if every or change.state is State.OPEN]
    if json:
        print_json({"campaign": record.campaign, "campaigns": [one.id for one in campaigns], "changes": shown})
    else:
        out.print(trend_view(record.campaign, campaigns, shown, hidden=len(found) - len(shown)))
    if any(change.regression for change in found):
        raise typer.Exit(ExitCode.REGRESSED)


@app.command()
def ack(
    change: Annotated[str, typer.Argument(metavar="CHANGE", help="Its id, as trend and digests show it.")],
    note: Annotated[str, typer.Option(help="Why it is all right; kept with it.", show_default=False)],
    nightly: Annotated[
        str | None, typer.Option("--nightly", metavar="NAME", help="Default: the only one.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Acknowledge a change: it makes no night regressed any more and is not reported again.

    Example: nohype nightly ack 3f2a9c1d --note "the new kernel's mitigations; accepted"
    """
    from harness.nightly.changes import acknowledge, find_changes, pick

    if not note.strip():
        raise InputError("the note is empty", where="--note", fix="say why, for those who read the trend later")
    with opened(nightly) as (store, record):
        found = acknowledge(store, pick(find_changes(store, record.campaign), change), note.strip())
    if json:
        print_json(found)
    else:
        out.print(f"{found.id} is acknowledged: {found.host}, {found.stack}: {found.workload} {found.metric}")


@app.command()
def digest(
    nightly: NightlyArgument = None,
    night: Annotated[str | None, typer.Option(metavar="NIGHT", help="Default: the latest that ended.")] = None,
    html: Annotated[bool, typer.Option("--html", help="HTML instead of Markdown.")] = False,
    send: Annotated[bool, typer.Option("--send", help="Send it as the nightly file says, whatever the night.")] = False,
) -> None:
    """Show a night's digest; with --send, send it: the way to test mail and webhook.

    Exit code 3 where something could not be sent, 2 where the nightly file names nobody to send it to.

    Example: nohype nightly digest --send
    """
    from harness.nightly.digest import render
    from harness.nightly.night import make_digest
    from harness.nightly.notify import send as send_message
    from harness.nightly.spec import installed_spec

    with opened(nightly) as (store, record):
        ended = [one for one in store.nights(record.name) if one.ended_at]
        found = [one for one in ended if night in (None, one.night)]
        if not found:
            known = ", ".join(one.night for one in ended[-3:])
            raise InputError(
                f"no night {night!r} has ended" if night else "no night has ended yet",
                where=record.name,
                fix=f"the last ones: {known}" if known else f"run one: nohype nightly run {record.name}",
            )
        what = make_digest(store, record, found[-1])
        notify = installed_spec(record).notify
    message = render(what)
    if not send:
        typer.echo(message.html if html else message.markdown, nl=False)
        return
    if notify.mail is None and notify.webhook is None:
        raise InputError("the nightly file has neither notify.mail nor notify.webhook", where=record.name)
    outcome, errors = send_message(notify, what, message)
    for error in errors:
        err.print(f"[yellow]! {escape(str(error))}[/yellow]", soft_wrap=True)
    out.print(escape(outcome), soft_wrap=True)
    if errors:
        raise typer.Exit(ExitCode.UNAVAILABLE)
