"""`nohype provision`: make hosts able to run stacks."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from harness.cli.common import InventoryOption, JsonOption, default_inventory, err, out, print_json
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
    stack: Annotated[
        list[str] | None, typer.Option(metavar="STACK", help="A stack, such as kvm; give it again for further ones.")
    ] = None,
    every: Annotated[bool, typer.Option("--all-stacks", help="Every stack there is.")] = False,
    limit: Annotated[
        str, typer.Option(metavar="PATTERN", help="Hosts: names, groups and globs separated by commas; ! takes away.")
    ] = "all",
    inventory: InventoryOption = None,
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
    kernel = for_stacks(wanted)
    artifacts = state_dir() / "provision" / f"{datetime.now():%Y%m%d-%H%M%S}-{'+'.join(wanted)}"
    names = ", ".join(host.name for host in hosts)
    which = f"stack {wanted[0]}" if len(wanted) == 1 else f"stacks {', '.join(wanted)}"
    err.print(f"provision {which} on {names}; Ansible's log: {artifacts}")
    with err.status("...") as status:
        result = stacks.provision(
            wanted,
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
    out.print(f"ready on {names} after {result.seconds:.1f} s: {which}; campaigns do the booting")
