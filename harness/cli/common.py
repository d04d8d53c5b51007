"""What every command group shares: the console, the inventory option, JSON output, progress with elapsed time."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

# Progress and errors go to stderr, so that stdout holds results alone and can be piped.
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

InventoryOption = Annotated[
    Path | None,
    typer.Option(
        "--inventory",
        "-i",
        help="Ansible inventory that names the hosts. Default: the emulated rack's, while it exists.",
        envvar="NOHYPE_INVENTORY",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of a table.")]


def default_inventory(given: Path | None) -> Path:
    """The inventory to use: what was given, else the rack's.

    Raises InputError where there is neither.
    """
    from harness.errors import InputError
    from harness.rack.layout import rack_inventory

    path = given or rack_inventory()
    if not path.exists():
        raise InputError(
            "no inventory" if given is None else "no such inventory",
            where=str(path),
            fix="name one with --inventory FILE (see inventory/examples/), or start the emulated rack: nohype rack up",
        )
    return path


def print_json(value: object) -> None:
    """Print `value` (dataclasses included) as one JSON document."""

    def convert(item: object) -> object:
        if is_dataclass(item) and not isinstance(item, type):
            return asdict(item)
        if isinstance(item, datetime):
            return item.isoformat()
        if isinstance(item, Path):
            return str(item)
        raise TypeError(f"not JSON: {type(item).__name__}")

    json.dump(value, sys.stdout, default=convert, indent=2, sort_keys=True)
    sys.stdout.write("\n")


@contextmanager
def step(text: str) -> Iterator[None]:
    """Show a long step while it runs, and how long it took when it ends (also when it fails)."""
    start = time.monotonic()
    with err.status(text):
        try:
            yield
        except BaseException:
            err.print(f"[red]✗[/red] {text} [dim]({time.monotonic() - start:.1f} s)[/dim]")
            raise
    err.print(f"[green]✓[/green] {text} [dim]({time.monotonic() - start:.1f} s)[/dim]")
