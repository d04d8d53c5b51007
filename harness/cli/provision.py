"""`nohype provision`: make hosts able to run a stack."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from harness.cli.common import InventoryOption, JsonOption, default_inventory, err, out, print_json
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
    """Shows each task on each host as it ends, and meanwhile what every host is at."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._began = time.monotonic()
        self._doing: dict[str, str] = {}

    def show(self, event: TaskEvent) -> None:
        """Takes events from `run_playbook`."""
        if event.outcome == START:
            self._doing[event.host] = event.title
        else:
            self._doing.pop(event.host, None)
            self._line(event)
        doing = "; ".join(f"{host}: {title}" for host, title in sorted(self._doing.items()))
        self._status.update(escape(doing) or "...")

    def _line(self, event: TaskEvent) -> None:
        bad = event.outcome in (FAILED, UNREACHABLE)
        if event.outcome == SKIPPED or (_SILENT in event.task and not bad):
            return
        total = time.monotonic() - self._began
        title = escape(f"{event.host}: {event.title}")
        err.print(
            f"[dim]{total:6.1f} s[/dim] {_MARKS[event.outcome]} {title} "
            f"[dim]{event.outcome}, {event.seconds:.1f} s[/dim]"
        )


def provision(
    stack: Annotated[str, typer.Option(help="kvm, kvm-tuned or nohype.", metavar="STACK")],
    limit: Annotated[
        str, typer.Option(metavar="PATTERN", help="Hosts: names, groups and globs separated by commas; ! takes away.")
    ] = "all",
    inventory: InventoryOption = None,
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
    err.print(f"provision stack {stack} on {names}; Ansible's log: {artifacts}")
    with err.status("...") as status:
        result = stacks.provision(
            stack,
            hosts,
            inventory=path,
            image=guest_image,
            kernel=kernel,
            artifacts=artifacts,
            on_event=Progress(status).show,
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
