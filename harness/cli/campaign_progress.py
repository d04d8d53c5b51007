"""A running campaign on the terminal: a line for each finished trial, and below what every host is at."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from harness.campaign.events import (
    BlockBegun,
    BlockEnded,
    CampaignBegun,
    Doing,
    Event,
    TrialBegun,
    TrialEnded,
    Warned,
)
from harness.results.model import Status

_ETA_TRIALS = 3  # before that an estimate would be a guess


@dataclass
class _Host:
    block: str = ""
    doing: str = ""
    since: float = 0.0


class Progress:
    """Takes events of the engine (any thread) and shows them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._hosts: dict[str, _Host] = {}
        self._blocks = self._trials = self._before = self._done = self._failed = 0

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
        with self._lock:
            line = self._take(event)
        if line:
            self._console.print(f"[dim]{clock(time.monotonic() - self._begun):>7}[/dim] {line}", soft_wrap=True)

    def _take(self, event: Event) -> str:
        """Note the event; the line to print about it, if any."""
        match event:
            case CampaignBegun():
                self._blocks, self._trials, self._before = event.blocks, event.trials, event.trials_done
                again = f", {event.trials_done} of them done before" if event.trials_done else ""
                return (
                    f"[bold]{escape(event.campaign_id)}[/bold]: {event.blocks} blocks, {event.trials} trials{again}; "
                    f"artifacts in {escape(event.folder)}"
                )
            case BlockBegun():
                self._hosts[event.host] = _Host(f"block {event.block} of {self._blocks}: {event.stack}")
                return f"{escape(event.host)}: block {event.block} of {self._blocks}, {escape(event.stack)}"
            case BlockEnded():
                self._hosts.pop(event.host, None)
            case Doing():
                self._now(event.host, event.text)
                return "" if self._console.is_terminal else f"[dim]{escape(f'{event.host}: {event.text}')}[/dim]"
            case TrialBegun():
                asked = f" ({event.seconds} s)" if event.seconds else ""
                self._now(event.host, f"trial {event.workload}{asked}")
            case TrialEnded():
                return self._ended(event)
            case Warned():
                return f"[yellow]! {escape(f'{event.host}: {event.text}')}[/yellow]"
        return ""

    def _ended(self, event: TrialEnded) -> str:
        self._done += 1
        title = escape(f"{event.host}: {event.stack}: {event.workload}")
        if event.status is Status.FAILED:
            self._failed += 1
            return f"[red]✗ {title}: {escape(event.failure)}[/red]"
        return f"[green]✓[/green] {title} [dim]{event.seconds:.1f} s, overhead {event.overhead_seconds:.1f} s[/dim]"

    def _now(self, host: str, text: str) -> None:
        state = self._hosts.setdefault(host, _Host())
        state.doing, state.since = text, time.monotonic()

    def _view(self) -> RenderableType:
        with self._lock:
            now = time.monotonic()
            lines = [
                Text.assemble(
                    (f"  {name}: ", "bold"),
                    f"{host.block}; {host.doing} " if host.block else f"{host.doing} ",
                    (clock(now - host.since) if host.since else "", "dim"),
                )
                for name, host in sorted(self._hosts.items())
            ]
            done = self._before + self._done
            failed = f", {self._failed} failed" if self._failed else ""
            elapsed = now - self._begun
            left = self._trials - done
            eta = ""
            if self._done >= _ETA_TRIALS and left > 0:
                eta = f", about {clock(elapsed / self._done * left)} to go"
            return Group(*lines, Text(f"  {done} of {self._trials} trials{failed}; {clock(elapsed)}{eta}", "cyan"))


def clock(seconds: float) -> str:
    """75 as 1:15, 3675 as 1:01:15."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
