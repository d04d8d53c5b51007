"""A campaign of another process on the terminal: for `nohype campaign watch`."""

from __future__ import annotations

import sys
import threading
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.campaign.standing import Ended, Standing
from harness.cli.campaign_progress import Progress, since, summary, warning
from harness.cli.common import print_json
from harness.report.words import number
from harness.results.model import CampaignRecord, Status

if TYPE_CHECKING:
    from harness.campaign.follow import Follower

LOOK_SECONDS = 0.5
_LEAST, _MOST = 3, 12  # last trials shown, whatever the terminal's height


def watch(follower: Follower, console: Console, *, as_json: bool = False) -> str:
    """Show the campaign until it ends; returns its status then.

    On a terminal it is one screen that changes; elsewhere, everything from the campaign's beginning, line by line.
    Ctrl-C comes out as KeyboardInterrupt and changes nothing about the campaign.
    """
    if as_json or not console.is_terminal:
        return _lines(follower, console, as_json)
    standing = Standing(follower.plan)
    pause = threading.Event()

    def view() -> RenderableType:
        return watch_view(follower.record, standing, datetime.now(UTC), console.height)

    with Live(view(), console=console, auto_refresh=False) as live:
        while True:
            status = follower.ended()
            for happened in follower.news():
                standing.take(happened)
            if status:
                live.update(_frozen(follower.record, standing, console.height), refresh=True)
                return status
            live.update(view(), refresh=True)
            pause.wait(LOOK_SECONDS)


def watch_view(record: CampaignRecord, standing: Standing, now: datetime, height: int) -> RenderableType:
    """One screen of at most `height` lines, while there are not more hosts than that: what hosts do comes first."""
    started = f" since {record.started_at:%Y-%m-%d %H:%M} UTC, {record.fidelity}, seed {record.seed}"
    bar = Table.grid()
    bar.add_row(ProgressBar(max(standing.trials, 1), standing.done, width=60))
    parts: list[RenderableType] = [
        Text.assemble((record.id, "bold"), (started, "dim")),
        bar,
        Text(f"{summary(standing, now)}; {len(standing.blocks_ended)} of {standing.blocks or '?'} blocks done"),
        _hosts(standing, now),
    ]
    room = height - 5 - len(standing.hosts) - 3
    failures = list(standing.failures)[-5:]
    warnings = list(standing.warnings)[-2:]
    parts += [_line(f"✗ {_title(one)}: {one.trial.failure}", "red") for one in failures]
    parts += [_line(f"! {warning(event)}", "yellow") for _, event in warnings]
    room -= len(failures) + len(warnings)
    if standing.last:
        parts.append(_last(list(standing.last)[-max(_LEAST, min(room, _MOST)) :]))
    return Group(*parts)


def _frozen(record: CampaignRecord, standing: Standing, height: int) -> RenderableType:
    return watch_view(record, standing, standing.latest or record.started_at, height)


def _lines(follower: Follower, console: Console, as_json: bool) -> str:
    progress = Progress(console, follower.plan, follower.record.fidelity)
    pause = threading.Event()
    while True:
        status = follower.ended()
        for happened in follower.news():
            if as_json:
                kind = type(happened.event).__name__
                print_json({"at": happened.at, "event": kind, **asdict(happened.event)}, indent=None)
            else:
                progress.take(happened)
        sys.stdout.flush()
        if status:
            return status
        pause.wait(LOOK_SECONDS)


def _hosts(standing: Standing, now: datetime) -> Table:
    table = Table("host", "block", "stack", "now", "for", box=None, pad_edge=False, header_style="dim")
    table.columns[3].overflow = "ellipsis"
    table.columns[3].no_wrap = True
    for name, host in sorted(standing.hosts.items()):
        doing = host.now or ("-" if host.block else "no block")
        table.add_row(Text(name), str(host.block or "-"), Text(host.stack or "-"), Text(doing), since(host, now))
    return table


def _last(ended: list[Ended]) -> Table:
    table = Table("last trials", "stack", "host", box=None, pad_edge=False, header_style="dim")
    for heading in ("seconds", "exits/s", "overhead s"):
        table.add_column(heading, justify="right")
    for one in reversed(ended):
        trial, rate = one.trial, one.exits_per_second
        failed = trial.status is Status.FAILED
        name = Text(f"{'✗' if failed else '✓'} {_name(one)}", "red" if failed else "green")
        shown = "-" if rate is None or failed else number(rate)
        table.add_row(
            name,
            Text(trial.stack),
            Text(trial.host),
            f"{trial.seconds:.1f}",
            f"[bold]{shown}[/bold]",
            f"{trial.overhead_seconds:.1f}",
        )
    return table


def _title(one: Ended) -> str:
    return f"{one.trial.host}: {one.trial.stack}: {_name(one)}"


def _name(one: Ended) -> str:
    return f"{one.trial.workload} {one.repeat}" if one.repeat else one.trial.workload


def _line(text: str, style: str) -> Text:
    return Text(" ".join(text.split()), style, no_wrap=True, overflow="ellipsis")
