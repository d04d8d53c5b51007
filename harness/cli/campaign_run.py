"""Run campaigns with progress on the terminal: for `nohype campaign` and `nohype quickstart`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from harness.cli.common import err, out, step
from harness.errors import ExitCode, InputError, NotProvisionedError

if TYPE_CHECKING:
    from harness.campaign.folder import Recorded
    from harness.campaign.register import Outcome
    from harness.campaign.run import Stop
    from harness.campaign.spec import Campaign
    from harness.cli.campaign_progress import Display
    from harness.hosts.model import Host
    from harness.results.model import CampaignRecord
    from harness.results.store import Store


def read_campaign(file: Path, inventory: Path, workloads: Path | None = None) -> Campaign:
    """Read and check a campaign file. Raises InputError."""
    from harness.campaign.spec import load_campaign
    from harness.hosts.inventory import load_inventory
    from harness.workloads.spec import load_workloads

    return load_campaign(file, load_workloads(workloads), load_inventory(inventory))


def check_hosts(campaign: Campaign) -> None:
    """Ask the hosts whether the campaign's guests fit them. Raises InputError where they do not."""
    from harness.campaign.lab import discovered
    from harness.campaign.resources import check_resources

    with step("asking the hosts what they can do"):
        found, silent = discovered(campaign.hosts)
    for name, error in silent.items():
        if isinstance(error, NotProvisionedError):
            err.print(f"{name} will be provisioned; whether guests fit it shows then")
            continue
        err.print(f"[yellow]! {name} was not checked: {escape(str(error))}[/yellow]", soft_wrap=True)
    check_resources(campaign, found)


def start(
    file: Path, inventory: Path, *, workloads: Path | None = None, new: bool = False, display: Display | None = None
) -> Outcome:
    """Run a campaign file with progress on the terminal; goes on with an interrupted one of the same text.

    Raises InputError for a wrong file before anything is started.
    """
    from harness.campaign.register import INTERRUPTED, register, status_now
    from harness.guests import image
    from harness.kernel.image import for_stacks
    from harness.results.store import Store

    campaign = read_campaign(file, inventory, workloads)
    image.current()
    for_stacks(campaign.spec.stacks, campaign.hosts)
    with Store() as store:
        unfinished = [
            record
            for record in store.campaigns()
            if record.spec_text == campaign.text and status_now(record) == INTERRUPTED and not new
        ]
        if unfinished:
            err.print(f"going on with {unfinished[0].id}, which was interrupted (--new begins another one)")
            return execute(store, unfinished[0], inventory, display)
        check_hosts(campaign)
        return execute(store, register(store, campaign, inventory), inventory, display)


def execute(
    store: Store, record: CampaignRecord, inventory: Path | None = None, display: Display | None = None
) -> Outcome:
    """Run a registered campaign from wherever it is; `inventory` replaces the one it was begun with.

    Raises InputError for one that is done or cancelled.
    """
    from harness.campaign import folder as folders
    from harness.campaign.engine import execute as run_engine
    from harness.campaign.events import EventLog, fan_out
    from harness.campaign.follow import ended_trial
    from harness.campaign.lab import open_lab
    from harness.campaign.register import CANCELLED, DONE
    from harness.campaign.run import Run, Stop
    from harness.cli.campaign_progress import Display, Progress
    from harness.guests import image
    from harness.kernel.image import for_stacks

    if record.status in (DONE, CANCELLED):
        raise InputError(f"the campaign is {record.status}; there is nothing to resume", where=record.id)
    recorded = folders.read(record.id)
    path = inventory or recorded.inventory
    hosts = _hosts(recorded, path)
    guest_image, kernel = image.current(), for_stacks(recorded.spec.stacks, hosts)
    done = [ended_trial(trial) for trial in store.trials(record.id)]
    progress = Progress(err, recorded.plan, record.fidelity, display or Display(), done)
    stop = Stop()
    emit = fan_out(EventLog(recorded.folder / folders.EVENTS).emit, progress.show)
    with (
        folders.controlling(record.id),
        interruptible(stop),
        open_lab(hosts, path, guest_image, kernel, recorded.folder, stop.asked, recorded.spec.disengagement) as lab,
        progress.shown(),
    ):
        run = Run(record, recorded.spec, recorded.plan, recorded.workloads, store, lab, recorded.folder, emit, stop)
        return run_engine(run)


def tell(outcome: Outcome, *, most: int | None = None) -> None:
    """Say how a campaign went, what Prometheus has against it (at `most` so many lines), and how to go on."""
    from harness.campaign.register import INTERRUPTED
    from harness.results.artifacts import campaign_folder

    failed = f", [red]{outcome.failed} failed[/red]" if outcome.failed else ""
    out.print(
        f"[bold]{outcome.campaign_id}[/bold] is {outcome.status}: {outcome.trials} trials{failed}", soft_wrap=True
    )
    for line in outcome.disagreements[:most]:
        out.print(f"[red]Prometheus disagrees:[/red] {escape(line)}", soft_wrap=True)
    if more := len(outcome.disagreements[most:]) if most is not None else 0:
        out.print(f"[red]Prometheus disagrees[/red] in {more} more: nohype campaign status {outcome.campaign_id}")
    out.print(f"artifacts: {escape(str(campaign_folder(outcome.campaign_id)))}", soft_wrap=True)
    after = "campaign resume" if outcome.status == INTERRUPTED else "compare"
    out.print(f"next: nohype {after} {outcome.campaign_id}", soft_wrap=True)


@contextmanager
def interruptible(stop: Stop) -> Iterator[None]:
    """Ctrl-C (or a polite kill) stops the campaign after the current step; the second one ends this process at once."""

    def ask(_signal: int, _frame: object) -> None:
        if stop.asked():
            os._exit(ExitCode.INTERRUPTED)  # as a crash would: `resume` clears the hosts
        stop.ask()
        err.print("stopping: the current step ends, then guests are ended; Ctrl-C again leaves them and ends at once")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hosts(recorded: Recorded, inventory: Path) -> tuple[Host, ...]:
    """The campaign's hosts, as an inventory has them now. Raises InputError where it lacks one."""
    from harness.hosts.inventory import load_inventory

    names = dict.fromkeys(block.host for block in recorded.plan.blocks)
    return load_inventory(inventory).select(",".join(names))


def abandon(store: Store, campaign_id: str) -> None:
    """End a campaign without a controller for good: its guests, its place in its hosts' queues.

    Raises UnavailableError where a process runs it.
    """
    from harness.campaign import engine
    from harness.campaign import folder as folders
    from harness.campaign.register import CANCELLED

    with folders.controlling(campaign_id):
        clear_hosts(campaign_id)
        engine.cancel(campaign_id)
        store.set_campaign_status(campaign_id, CANCELLED, datetime.now(UTC))


def clear_hosts(campaign_id: str) -> None:
    """End the guests that a killed controller has left on its hosts."""
    from harness.campaign import folder as folders
    from harness.campaign.run import guest_tag
    from harness.errors import HarnessError
    from harness.guests import lifecycle
    from harness.hosts.ssh import connect

    try:
        recorded = folders.read(campaign_id)
        hosts = _hosts(recorded, recorded.inventory)
    except HarnessError as error:
        err.print(f"[yellow]! its hosts were not cleared: {escape(str(error))}[/yellow]", soft_wrap=True)
        return
    for host in hosts:
        try:
            with step(f"{host.name}: ending its guests"), connect(host) as session:
                for guest in lifecycle.list_guests(session):
                    if guest.state == "running" and guest.name.startswith(f"{guest_tag(campaign_id)}-"):
                        lifecycle.destroy(session, guest.name)
        except HarnessError as error:
            err.print(f"[yellow]! {host.name} was not cleared: {escape(str(error))}[/yellow]", soft_wrap=True)
