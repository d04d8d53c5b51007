"""A running campaign on the terminal: a line for each finished trial, and below what every host is at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from harness.campaign.events import BlockBegun, CampaignBegun, Doing, Event, Happened, TrialEnded, Warned
from harness.campaign.plan import Plan
from harness.campaign.standing import HostNow, Standing
from harness.report.words import count, number
from harness.results.model import Status


class Progress:
    """Takes events of a campaign (any thread) and shows them."""

    def __init__(self, console: Console, plan: Plan | None) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._standing = Standing(plan)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the lower lines on the terminal for the length of the block; without a terminal, print lines only."""
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=self._view, console=self._console, refresh_per_second=2, transient=True):
            yield

    def show(self, event: Event) -> None:
        """An Emit."""
        self.take(Happened(datetime.now(UTC), event))

    def take(self, happened: Happened) -> None:
        """As `show`, for an event of any time."""
        with self._lock:
            self._standing.take(happened)
            line = self._line(happened.event)
            at = clock(self._standing.seconds(happened.at))
        if line:
            self._console.print(f"[dim]{at:>7}[/dim] {line}", soft_wrap=True)

    def _line(self, event: Event) -> str:
        """The line to print about an event, if any."""
        match event:
            case CampaignBegun():
                again = f", {event.trials_done} of them done before" if event.trials_done else ""
                folder = f"; artifacts in {escape(event.folder)}" if event.folder else ""
                blocks = f"{count(event.blocks, 'block')}, " if event.blocks else ""
                trials = count(event.trials, "trial")
                return f"[bold]{escape(event.campaign_id)}[/bold]: {blocks}{trials}{again}{folder}"
            case BlockBegun():
                return f"{escape(event.host)}: {place(self._standing, event.block)}, {escape(event.stack)}"
            case Doing():
                return "" if self._console.is_terminal else f"[dim]{escape(f'{event.host}: {event.text}')}[/dim]"
            case TrialEnded():
                return _ended(event, self._standing.last[-1].exits_per_second)
            case Warned():
                return f"[yellow]! {escape(warning(event))}[/yellow]"
        return ""

    def _view(self) -> RenderableType:
        with self._lock:
            now = datetime.now(UTC)
            lines = [
                Text.assemble((f"  {name}: ", "bold"), _doing(self._standing, host), (since(host, now), "dim"))
                for name, host in sorted(self._standing.hosts.items())
                if host != HostNow()
            ]
            return Group(*lines, Text(f"  {summary(self._standing, now)}", "cyan"))


def summary(standing: Standing, now: datetime) -> str:
    """`12 of 36 trials, 1 failed; 10:32, about 21:00 to go`."""
    failed = f", {standing.failed} failed" if standing.failed else ""
    left = standing.seconds_left(now) if standing.done < standing.trials else None
    estimate = f", about {clock(left)} to go" if left is not None else ""
    return f"{standing.done} of {standing.trials} trials{failed}; {clock(standing.seconds(now))}{estimate}"


def place(standing: Standing, block: int) -> str:
    """`block 3 of 6`."""
    return f"block {block} of {standing.blocks}" if standing.blocks else f"block {block}"


def warning(event: Warned) -> str:
    return f"{event.host}: {event.text}" if event.host else event.text


def clock(seconds: float) -> str:
    """75 as 1:15, 3675 as 1:01:15."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _ended(event: TrialEnded, exits_per_second: float | None) -> str:
    title = escape(f"{event.host}: {event.stack}: {event.workload}")
    if event.status is Status.FAILED:
        return f"[red]✗ {title}: {escape(event.failure)}[/red]"
    exits = f", {number(exits_per_second)} exits/s" if exits_per_second is not None else ""
    return f"[green]✓[/green] {title} [dim]{event.seconds:.1f} s{exits}, overhead {event.overhead_seconds:.1f} s[/dim]"


def _doing(standing: Standing, host: HostNow) -> str:
    block = f"{place(standing, host.block)}: {host.stack}; " if host.block else ""
    return f"{block}{host.doing} "


def since(host: HostNow, now: datetime) -> str:
    """How long the host has been at what it does; "" where it does nothing that is known."""
    return clock(max((now - host.since).total_seconds(), 0)) if host.since else ""
