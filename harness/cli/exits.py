"""`nohype exits`: VM exits as they happen."""

from __future__ import annotations

import json as json_module
import sys
import threading
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from harness.cli.common import InventoryOption, JsonOption, err, one_host, out
from harness.exits.model import ExitReading

app = typer.Typer(no_args_is_help=True, help="VM exits by guest and reason, read from the hosts' own counters.")

Totals = dict[tuple[str, str], int]


class Sort(StrEnum):
    """Which reasons come first."""

    RATE = "rate"
    EXITS = "exits"


@app.command()
def watch(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host's name in the inventory.")],
    interval: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="Time between readings.")] = 2.0,
    guest: Annotated[
        str, typer.Option(metavar="PATTERN", help="Only guests of such names: g1, 'c1a2b3-*'.", show_default=False)
    ] = "*",
    sort: Annotated[
        Sort, typer.Option(help="Which reasons come first: by exits/s now, or by their total.")
    ] = Sort.RATE,
    once: Annotated[bool, typer.Option("--once", help="Print the totals once and end.")] = False,
    json: JsonOption = False,
    inventory: InventoryOption = None,
) -> None:
    """Watch VM exits by guest and reason: totals since the guest's start and the rate now. Ctrl-C ends.

    Guests that make no exits now, ended ones among them, are one line each, below the others. Where stdout is no
    terminal, a line is printed for each guest that makes exits, at every interval.

    For scripts: --once --json prints one document; --json alone prints one per line at every interval.

    Examples:

      nohype exits watch host1 --interval 1

      nohype exits watch host1 --guest 'web*' --sort exits
    """
    from harness.exits import reader
    from harness.hosts.ssh import connect

    with connect(one_host(host, inventory)) as session:

        def read() -> ExitReading:
            return only(reader.read(session), guest)

        reading = read()
        if once:
            _print(reading, None, host, json, sort)
            return
        tick = threading.Event()
        try:
            if json or not out.is_terminal:
                if json:
                    _print(reading, None, host, json, sort)
                while not tick.wait(interval):
                    before, reading = reading, read()
                    if json:
                        _print(reading, before, host, json, sort)
                    else:
                        _print_lines(reading, before)
            with Live(exits_table(reading, None, host, sort), console=out, screen=True) as live:
                while not tick.wait(interval):
                    before, reading = reading, read()
                    live.update(exits_table(reading, before, host, sort), refresh=True)
        except KeyboardInterrupt:
            if not json and out.is_terminal:
                out.print(exits_table(reading, None, host, sort))
                err.print("[dim]ended by Ctrl-C; these are the last totals[/dim]")


def only(reading: ExitReading, pattern: str) -> ExitReading:
    """The guests whose names match a shell pattern."""
    return replace(reading, guests={name: rows for name, rows in reading.guests.items() if fnmatchcase(name, pattern)})


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


def exits_table(reading: ExitReading, before: ExitReading | None, host: str, sort: Sort = Sort.RATE) -> Table:
    """Guests in order of their names, each with its sum and its reasons; those without exits now come last, unfolded
    only where nothing is known about now."""
    speed = rates(before, reading) if before else None
    sums = totals(reading)
    whole = f": {sum(speed.values()):,.1f} exits/s" if speed is not None else ""
    table = Table(title=f"VM exits on {escape(host)}{whole}", box=None, title_justify="left", pad_edge=False)
    for heading in ("guest", "reason"):
        table.add_column(heading)
    for heading in ("exits", "%", "exits/s"):
        table.add_column(heading, justify="right")

    def rate(guest: str, reason: str) -> float | None:
        return None if speed is None else speed.get((guest, reason), 0.0)

    def order(row: tuple[int, str, float | None]) -> tuple[float, int]:
        count, _, now = row
        return (now or 0.0 if sort is Sort.RATE else 0.0, count)

    of_guests = {
        guest: sorted(
            ((count, reason, rate(guest, reason)) for (name, reason), count in sums.items() if name == guest),
            key=order,
            reverse=True,
        )
        for guest in sorted(reading.guests)
    }
    quiet = {guest for guest, rows in of_guests.items() if speed is not None and not any(now for _, _, now in rows)}
    for guest in sorted(of_guests, key=lambda name: name in quiet):
        rows = of_guests[guest]
        total = sum(count for count, _, _ in rows)
        now = sum(each or 0.0 for _, _, each in rows) if speed is not None else None
        style = "dim" if guest in quiet else "bold"
        table.add_row(escape(guest), "all", f"{total:,}", "", _rate(now), style=style)
        for count, reason, each in () if guest in quiet else rows:
            table.add_row("", reason, f"{count:,}", f"{100 * count / total:.1f}" if total else "", _rate(each))
    if not reading.guests:
        table.add_row("[dim]no such guests since this host's boot[/dim]", "", "", "", "")
    if reading.dropped:
        table.caption = f"[red]{reading.dropped:,} exits were not counted: the kernel's table is full[/red]"
    return table


def rate_lines(reading: ExitReading, before: ExitReading) -> list[str]:
    """A line for each guest that makes exits: `g1 12.0/s: hlt 10.0, npf 2.0`, the most frequent reason first."""
    of_guests: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for (guest, reason), rate in rates(before, reading).items():
        if rate:
            of_guests[guest].append((rate, reason))
    return [
        f"{guest} {sum(rate for rate, _ in found):.1f}/s: "
        + ", ".join(f"{reason} {rate:.1f}" for rate, reason in sorted(found, reverse=True))
        for guest, found in sorted(of_guests.items())
    ]


def _print_lines(reading: ExitReading, before: ExitReading) -> None:
    for line in rate_lines(reading, before):
        sys.stdout.write(f"{datetime.now():%H:%M:%S} {line}\n")
    sys.stdout.flush()


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _print(reading: ExitReading, before: ExitReading | None, host: str, as_json: bool, sort: Sort) -> None:
    if not as_json:
        out.print(exits_table(reading, before, host, sort))
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
