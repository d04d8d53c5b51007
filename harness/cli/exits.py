"""`nohype exits`: VM exits as they happen."""

from __future__ import annotations

import json as json_module
import sys
import threading
from collections import defaultdict
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table

from harness.cli.common import InventoryOption, JsonOption, default_inventory, err, out
from harness.errors import InputError
from harness.exits.model import ExitReading

app = typer.Typer(no_args_is_help=True, help="VM exits by guest and reason, read from the hosts' own counters.")

Totals = dict[tuple[str, str], int]


@app.command()
def watch(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host's name in the inventory.")],
    interval: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="Time between readings.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print the totals once and end.")] = False,
    json: JsonOption = False,
    inventory: InventoryOption = None,
) -> None:
    """Watch VM exits by guest and reason: totals since the guest's start and the rate now. Ctrl-C ends.

    For scripts: --once --json prints one document; --json alone prints one per line at every interval.

    Example: nohype exits watch host1 --interval 1
    """
    from harness.exits.reader import read
    from harness.hosts.inventory import load_inventory
    from harness.hosts.ssh import connect

    found = load_inventory(default_inventory(inventory)).select(host)
    if len(found) != 1:
        raise InputError(f"{host!r} names {len(found)} hosts; one is needed", where="HOST", fix="see: nohype hosts")
    with connect(found[0]) as session:
        reading = read(session)
        if once:
            _print(reading, None, host, json)
            return
        tick = threading.Event()
        try:
            if json:
                _print(reading, None, host, json)
                while not tick.wait(interval):
                    before, reading = reading, read(session)
                    _print(reading, before, host, json)
            with Live(exits_table(reading, None, host), console=out, screen=out.is_terminal) as live:
                while not tick.wait(interval):
                    before, reading = reading, read(session)
                    live.update(exits_table(reading, before, host), refresh=True)
        except KeyboardInterrupt:
            if not json:
                out.print(exits_table(reading, None, host))
                err.print("[dim]ended by Ctrl-C; these are the last totals[/dim]")


def totals(reading: ExitReading) -> Totals:
    """Exits by (guest, reason), all vCPUs together."""
    sums: Totals = defaultdict(int)
    for guest, rows in reading.guests.items():
        for row in rows:
            sums[guest, row.reason] += row.count
    return dict(sums)


def rates(before: ExitReading, now: ExitReading) -> dict[tuple[str, str], float]:
    """Exits per second by (guest, reason) between two readings, on the host's clock."""
    seconds = now.taken_at - before.taken_at
    start = totals(before)
    return {key: max(0, count - start.get(key, 0)) / seconds for key, count in totals(now).items()} if seconds else {}


def exits_table(reading: ExitReading, before: ExitReading | None, host: str) -> Table:
    """Guests in order of their names, each with its sum and its reasons, the most frequent first."""
    table = Table(title=f"VM exits on {host}", box=None, title_justify="left", pad_edge=False)
    for heading in ("guest", "reason"):
        table.add_column(heading)
    for heading in ("exits", "exits/s"):
        table.add_column(heading, justify="right")
    speed = rates(before, reading) if before else None
    sums = totals(reading)
    for guest in sorted(reading.guests):
        rows = sorted(((n, reason) for (g, reason), n in sums.items() if g == guest), reverse=True)
        whole = sum(speed.get((guest, reason), 0.0) for _, reason in rows) if speed is not None else None
        table.add_row(
            f"[bold]{guest}[/bold]", "[bold]all[/bold]", f"[bold]{sum(n for n, _ in rows):,}[/bold]", _rate(whole)
        )
        for count, reason in rows:
            table.add_row(
                "", reason, f"{count:,}", _rate(speed.get((guest, reason), 0.0) if speed is not None else None)
            )
    if not reading.guests:
        table.add_row("[dim]no guests since this host's boot[/dim]", "", "", "")
    if reading.dropped:
        table.caption = f"[red]{reading.dropped:,} exits were not counted: the kernel's table is full[/red]"
    return table


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _print(reading: ExitReading, before: ExitReading | None, host: str, as_json: bool) -> None:
    if not as_json:
        out.print(exits_table(reading, before, host))
        return
    speed = rates(before, reading) if before else {}
    guests: dict[str, list[dict[str, object]]] = {guest: [] for guest in sorted(reading.guests)}
    for (guest, reason), count in sorted(totals(reading).items()):
        row: dict[str, object] = {"reason": reason, "exits": count}
        if before:
            row["exits_per_second"] = speed.get((guest, reason), 0.0)
        guests[guest].append(row)
    document = {"host": host, "taken_at": reading.taken_at, "dropped": reading.dropped, "guests": guests}
    sys.stdout.write(json_module.dumps(document) + "\n")
    sys.stdout.flush()
