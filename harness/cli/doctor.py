"""`nohype doctor`: what is missing, and the command that mends it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.common import InventoryOption, JsonOption, default_inventory, err, out, print_json
from harness.errors import ExitCode, InputError

if TYPE_CHECKING:
    from harness.hosts.model import Host
    from harness.hosts.preflight import Finding

AT_ONCE = 8  # hosts looked at at the same time
_MARKS = {"ok": "[green]✓[/green]", "warn": "[yellow]![/yellow]", "fail": "[red]✗[/red]"}


def doctor(
    limit: Annotated[str, typer.Option("--limit", metavar="PATTERN", help="Look at these hosts alone.")] = "all",
    inventory: InventoryOption = None,
    json: JsonOption = False,
) -> None:
    """Look at this machine and at every host: what is missing, and the command that mends it. Changes nothing.

    Exit code 3 when something fails, so scripts can wait for it: nohype doctor && nohype campaign run FILE
    """
    from harness.hosts.control_node import check_control_node
    from harness.hosts.preflight import check_host

    sections = {"control node": check_control_node()}
    hosts = _hosts(limit, inventory)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sections.update(zip((host.name for host in hosts), pool.map(check_host, hosts), strict=True))
    if json:
        print_json({name: [asdict(finding) for finding in found] for name, found in sections.items()})
    else:
        _print(sections)
        if not hosts:
            err.print("No inventory: looked at this machine alone. Hosts: --inventory FILE, or nohype rack up.")
    if any(finding.level == "fail" for found in sections.values() for finding in found):
        raise typer.Exit(ExitCode.UNAVAILABLE)


def _hosts(limit: str, inventory: Path | None) -> tuple[Host, ...]:
    """The hosts to look at; none where no inventory was named and no rack is up."""
    from harness.hosts.inventory import load_inventory

    try:
        path = default_inventory(inventory)
    except InputError:
        if inventory is not None or limit != "all":
            raise
        return ()
    return load_inventory(path).select(limit)


def _print(sections: dict[str, tuple[Finding, ...]]) -> None:
    for name, found in sections.items():
        out.print(f"[bold]{name}[/bold]")
        for finding in found:
            out.print(f"  {_MARKS[finding.level]}", end=" ")
            place = f" [{finding.where}]" if finding.level != "ok" and finding.where != name else ""
            out.print(finding.what + place, markup=False, soft_wrap=True)
            if finding.fix:
                out.print(f"    to mend: {finding.fix}", markup=False, soft_wrap=True, style="dim")
