"""Long steps on the terminal, of any number of threads: a line for each that ended, and below those that run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from harness.cancel import Cancelled

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"  # rich's "dots"; its own Spinner would let a long line wrap
_FRAMES_PER_SECOND = 8


def clock(seconds: float) -> str:
    """75 as 1:15, 3675 as 1:01:15."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass
class RunningStep:
    """A step that runs. `detail` is what it is at, shown behind its text; any thread may change it."""

    text: str
    begun: float  # by time.monotonic()
    detail: str = ""

    def line(self) -> Text:
        """Its line as of now. The time comes first: a line that is too long for the terminal loses its end."""
        now = time.monotonic()
        detail = f" ({self.detail})" if self.detail else ""
        frame = _SPINNER[int(now * _FRAMES_PER_SECOND) % len(_SPINNER)]
        parts = (frame, (f" {clock(now - self.begun):>5} ", "dim"), self.text, (detail, "dim"))
        return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


class Steps:
    """Shows steps. Without a terminal: one line for each that has ended, and nothing else."""

    def __init__(
        self, console: Console, *, begun: float | None = None, left: Callable[[float], float] | None = None
    ) -> None:
        """With `begun` (by time.monotonic()) lines start with the time since then.

        `left` tells the seconds that remain in all, from those that have passed since `begun`.
        """
        self._console = console
        self._begun = begun
        self._left = left
        self._lock = threading.Lock()
        self._running: list[RunningStep] = []

    @contextmanager
    def shown(self) -> Iterator[Steps]:
        """Keep the steps that run on the terminal for the length of the block."""
        if not self._console.is_terminal:
            yield self
            return
        live = Live(
            get_renderable=self._view, console=self._console, refresh_per_second=_FRAMES_PER_SECOND, transient=True
        )
        with live:
            yield self

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A `harness.steps.Step`; says how long the step took when it ends, also when it fails or is stopped."""
        with self.running(text):
            yield

    @contextmanager
    def running(self, text: str) -> Iterator[RunningStep]:
        """As `step`, for steps that tell what they are at."""
        one = RunningStep(text, time.monotonic())
        with self._lock:
            self._running.append(one)
        mark, word = "[green]✓[/green]", ""
        try:
            yield one
        except (Cancelled, KeyboardInterrupt):
            mark, word = "[yellow]–[/yellow]", "stopped after "
            raise
        except BaseException:
            mark, word = "[red]✗[/red]", "failed after "
            raise
        finally:
            now = time.monotonic()
            with self._lock:
                self._running.remove(one)
            passed = f"[dim]{clock(now - self._begun):>7}[/dim] " if self._begun is not None else ""
            took = f"[dim]({word}{now - one.begun:.1f} s)[/dim]"
            self._console.print(f"{passed}{mark} {escape(text)} {took}", soft_wrap=True)

    def _view(self) -> RenderableType:
        with self._lock:
            lines: list[RenderableType] = [one.line() for one in self._running]
        if self._begun is not None and self._left:
            passed = time.monotonic() - self._begun
            lines.append(Text(f"  {clock(passed)}, about {clock(self._left(passed))} to go", "cyan"))
        return Group(*lines)
