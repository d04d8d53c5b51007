"""A running campaign on the terminal: a line for each finished step and trial, and below what every host is at."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from harness.campaign.events import (
    BlockBegun,
    BlockEnded,
    CampaignBegun,
    CampaignEnded,
    Doing,
    Event,
    Happened,
    TrialBegun,
    TrialEnded,
    Warned,
)
from harness.campaign.plan import Plan
from harness.campaign.standing import HostNow, Standing
from harness.cli.progress import clock
from harness.cli.round_table import FirstRound, round_table
from harness.report.words import count, number
from harness.results.model import Fidelity, Status

STEP_SECONDS = 2.0  # what takes less is not worth a line


@dataclass(frozen=True)
class Display:
    """How a campaign is shown.

    `verbose`: each of Ansible's tasks on a line. `begun`: what the clock counts from, where that is not the campaign's
    beginning. `expected_seconds`: how long it will take, until its own pace tells.
    """

    verbose: bool = False
    begun: datetime | None = None
    expected_seconds: float | None = None


class Progress:
    """Takes events of a campaign (any thread) and shows them."""

    def __init__(
        self,
        console: Console,
        plan: Plan | None,
        fidelity: Fidelity | None = None,
        display: Display = Display(),
        done: Iterable[TrialEnded] = (),
    ) -> None:
        """`done` are trials that ended before the first event, where the campaign goes on."""
        self._console = console
        self._plan = plan
        self._fidelity = fidelity
        self._display = display
        self._lock = threading.Lock()
        self._standing = Standing(plan)
        self._steps = HostSteps()
        self._round = FirstRound(plan) if plan else None
        for trial in done:
            self._round_ends(trial)

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
            lines = [*self._steps.take(happened), self._line(happened.event)]
            at = clock(self._passed(happened.at))
            table = self._table() if self._round_ends(happened.event) else None
        for line in filter(None, lines):
            self._console.print(f"[dim]{at:>7}[/dim] {line}", soft_wrap=True)
        if table:
            self._console.print(table)

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
            case Doing(detail=detail) if detail and self._display.verbose:
                return f"[dim]{escape(f'{event.host}: {event.text}: {detail}')}[/dim]"
            case TrialEnded():
                return _ended(event, self._standing.last[-1].exits_per_second)
            case Warned():
                return f"[yellow]! {escape(warning(event))}[/yellow]"
        return ""

    def _round_ends(self, event: Event) -> bool:
        return isinstance(event, TrialEnded) and self._round is not None and self._round.take(event)

    def _table(self) -> RenderableType | None:
        return round_table(self._plan, self._round.trials, self._fidelity) if self._plan and self._round else None

    def _passed(self, now: datetime) -> float:
        return (now - self._display.begun).total_seconds() if self._display.begun else self._standing.seconds(now)

    def _left(self, now: datetime) -> float | None:
        left, expected = self._standing.seconds_left(now), self._display.expected_seconds
        if left is not None or expected is None:
            return left
        return max(expected - self._standing.seconds(now), 0.0) or None

    def _view(self) -> RenderableType:
        with self._lock:
            now = datetime.now(UTC)
            lines = [
                Text.assemble(
                    (f"  {name}: ", "bold"), f"{since(host, now):>5} ", _doing(self._standing, host),
                    no_wrap=True, overflow="ellipsis",
                )
                for name, host in sorted(self._standing.hosts.items())
                if host != HostNow()
            ]  # fmt: skip
            whole = progress_text(self._standing, self._passed(now), self._left(now))
            return Group(*lines, Text(f"  {whole}", "cyan"))


class HostSteps:
    """Takes events, tells which steps of hosts they end: provisioning, reboots, what takes long apart from trials."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, datetime]] = {}  # by host: what it does, and since when
        self._in_trial: set[str] = set()

    def take(self, happened: Happened) -> list[str]:
        """Lines about the steps that have ended; a trial has its own line, which covers the steps within."""
        event, at = happened.event, happened.at
        match event:
            case Doing():
                before = self._open.get(event.host)
                if event.host in self._in_trial or (before and event.detail and before[0] == event.text):
                    return []
                lines = self._ended(event.host, at)
                self._open[event.host] = (event.text, at)
                return lines
            case TrialBegun():
                self._in_trial.add(event.host)
                return self._ended(event.host, at)
            case TrialEnded():
                self._in_trial.discard(event.host)
            case BlockBegun() | BlockEnded():
                self._in_trial.discard(event.host)
                return self._ended(event.host, at)
            case CampaignBegun():  # a controller that died did not end its steps
                self._open.clear()
                self._in_trial.clear()
            case CampaignEnded():
                return [line for host in sorted(self._open) for line in self._ended(host, at)]
        return []

    def _ended(self, host: str, at: datetime) -> list[str]:
        text, begun = self._open.pop(host, ("", at))
        took = (at - begun).total_seconds()
        return [f"{escape(f'{host}: {text}')} [dim]{took:.1f} s[/dim]"] if took >= STEP_SECONDS else []


def summary(standing: Standing, now: datetime) -> str:
    """`12 of 36 trials, 1 failed; 10:32, about 21:00 to go`."""
    return progress_text(standing, standing.seconds(now), standing.seconds_left(now))


def progress_text(standing: Standing, passed: float, left: float | None) -> str:
    """As `summary`, with the seconds that have passed and those that are left, None where that is not known."""
    failed = f", {standing.failed} failed" if standing.failed else ""
    estimate = f", about {clock(left)} to go" if left is not None and standing.done < standing.trials else ""
    return f"{standing.done} of {standing.trials} trials{failed}; {clock(passed)}{estimate}"


def place(standing: Standing, block: int) -> str:
    """`block 3 of 6`."""
    return f"block {block} of {standing.blocks}" if standing.blocks else f"block {block}"


def warning(event: Warned) -> str:
    return f"{event.host}: {event.text}" if event.host else event.text


def _ended(event: TrialEnded, exits_per_second: float | None) -> str:
    title = escape(f"{event.host}: {event.stack}: {event.workload}")
    if event.status is Status.FAILED:
        return f"[red]✗ {title}: {escape(event.failure)}[/red]"
    exits = f", {number(exits_per_second)} exits/s" if exits_per_second is not None else ""
    return f"[green]✓[/green] {title} [dim]{event.seconds:.1f} s{exits}, overhead {event.overhead_seconds:.1f} s[/dim]"


def _doing(standing: Standing, host: HostNow) -> str:
    block = f"{place(standing, host.block)}: {host.stack}; " if host.block else ""
    return f"{block}{host.now}"


def since(host: HostNow, now: datetime) -> str:
    """How long the host has been at what it does; "" where it does nothing that is known."""
    return clock(max((now - host.since).total_seconds(), 0)) if host.since else ""
