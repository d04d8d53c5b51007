"""`nohype provision`: make hosts able to run stacks."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.cli.common import InventoryOption, JsonOption, VerboseOption, default_inventory, err, out, print_json
from harness.cli.progress import RunningStep, Steps
from harness.errors import InputError
from harness.paths import state_dir
from harness.provision.model import CHANGED, FAILED, OK, SKIPPED, START, UNREACHABLE, TaskEvent

_MARKS = {
    CHANGED: "[yellow]~[/yellow]",
    OK: "[green]✓[/green]",
    FAILED: "[red]✗[/red]",
    UNREACHABLE: "[red]✗[/red]",
}
# Ansible's own checks of roles' arguments take no time and tell nothing unless they fail.
_SILENT = "Validating arguments against arg spec"


class Progress:
    """Keeps a step's detail at the task that every host is at; where `verbose`, prints each task as it ends."""

    def __init__(self, console: Console, step: RunningStep, *, verbose: bool) -> None:
        self._console = console
        self._step = step
        self._verbose = verbose
        self._began = time.monotonic()
        self._tasks: Counter[str] = Counter()
        self._doing: dict[str, str] = {}

    def show(self, event: TaskEvent) -> None:
        """Takes events from `run_playbook`."""
        if event.outcome == START:
            self._tasks[event.host] += 1
            self._doing[event.host] = f"task {self._tasks[event.host]}: {event.title}"
        else:
            self._doing.pop(event.host, None)
            if self._verbose:
                self._line(event)
        self._step.detail = "; ".join(f"{host}, {doing}" for host, doing in sorted(self._doing.items()))

    def _line(self, event: TaskEvent) -> None:
        bad = event.outcome in (FAILED, UNREACHABLE)
        if event.outcome == SKIPPED or (_SILENT in event.task and not bad):
            return
        total = time.monotonic() - self._began
        title = escape(f"{event.host}: {event.title}")
        self._console.print(
            f"[dim]{total:6.1f} s[/dim] {_MARKS[event.outcome]} {title} "
            f"[dim]{event.outcome}, {event.seconds:.1f} s[/dim]",
            soft_wrap=True,
        )


def provision(
    stack: Annotated[
        list[str] | None, typer.Option(metavar="STACK", help="A stack, such as kvm; give it again for further ones.")
    ] = None,
    every: Annotated[bool, typer.Option("--all-stacks", help="Every stack there is.")] = False,
    limit: Annotated[
        str, typer.Option(metavar="PATTERN", help="Hosts: names, groups and globs separated by commas; ! takes away.")
    ] = "all",
    inventory: InventoryOption = None,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Install on hosts what the stacks need: packages, services, network, boot entries, kernel, the guest image.

    What stacks share is done once: name all that you want in one call. Nothing is rebooted, and a host that has it all
    is left as it is. Campaigns do this by themselves for the hosts they use; then they boot them into the stacks.

    Examples:

      nohype provision --stack kvm

      nohype provision --stack kvm --stack kvm-tuned --limit 'rack*,!rack3'
    """
    from harness.guests import image
    from harness.hosts.inventory import load_inventory
    from harness.kernel.image import for_stacks
    from harness.provision import stacks

    if every == bool(stack):
        raise InputError("which stacks?", fix=f"--stack with one of {', '.join(stacks.STACKS)}, or --all-stacks")
    wanted = list(stacks.STACKS) if every else list(dict.fromkeys(stack or []))
    path = default_inventory(inventory)
    hosts = load_inventory(path).select(limit)
    for name in wanted:
        stacks.check(name)
    guest_image = image.current()
    kernel = for_stacks(wanted, hosts)
    artifacts = state_dir() / "provision" / f"{datetime.now():%Y%m%d-%H%M%S}-{'+'.join(wanted)}"
    names = ", ".join(host.name for host in hosts)
    which = f"stack {wanted[0]}" if len(wanted) == 1 else f"stacks {', '.join(wanted)}"
    err.print(f"Ansible's log: {artifacts}", markup=False, soft_wrap=True)
    with Steps(err).shown() as steps, steps.running(f"provision {which} on {names}") as step:
        result = stacks.provision(
            wanted,
            hosts,
            inventory=path,
            image=guest_image,
            kernel=kernel,
            artifacts=artifacts,
            on_event=Progress(err, step, verbose=verbose).show,
        )
    if as_json:
        print_json(result)
        return
    table = Table("host", "ok", "changed", "skipped", box=None)
    for host in result.hosts:
        changed = f"[yellow]{host.changed}[/yellow]" if host.changed else "0"
        table.add_row(host.host, str(host.ok), changed, str(host.skipped))
    out.print(table)
    out.print(f"ready on {names} after {result.seconds:.1f} s: {which}; campaigns do the booting")
