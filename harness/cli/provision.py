"""`nohype provision`: make hosts able to run a stack."""

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
    stack: Annotated[str, typer.Option(help="kvm, kvm-tuned or nohype.", metavar="STACK")],
    limit: Annotated[
        str, typer.Option(metavar="PATTERN", help="Hosts: names, groups and globs separated by commas; ! takes away.")
    ] = "all",
    inventory: InventoryOption = None,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Install on hosts what STACK needs: packages, services, network, its own boot entry, kernel, the guest image.

    Nothing is rebooted, and a host that has it all is left as it is. Campaigns do this by themselves for the hosts
    they use; then they boot them into the stack.

    Examples:

      nohype provision --stack kvm

      nohype provision --stack kvm-tuned --limit 'rack*,!rack3'
    """
    from harness.guests import image
    from harness.hosts.inventory import load_inventory
    from harness.kernel.image import for_stacks
    from harness.provision import stacks

    path = default_inventory(inventory)
    hosts = load_inventory(path).select(limit)
    stacks.check(stack)
    guest_image = image.current()
    kernel = for_stacks([stack], hosts)
    artifacts = state_dir() / "provision" / f"{datetime.now():%Y%m%d-%H%M%S}-{stack}"
    names = ", ".join(host.name for host in hosts)
    err.print(f"Ansible's log: {artifacts}", markup=False, soft_wrap=True)
    with Steps(err).shown() as steps, steps.running(f"provision stack {stack} on {names}") as step:
        result = stacks.provision(
            stack,
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
    out.print(f"stack {stack} is ready on {names} after {result.seconds:.1f} s; campaigns boot into it")
