"""What every command group shares: the console, the inventory option, JSON output, progress with elapsed time."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.cli.progress import Steps

if TYPE_CHECKING:
    from harness.hosts.model import Host

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
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show each of Ansible's tasks on a line of its own.")
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


def one_host(name: str, inventory: Path | None) -> Host:
    """The host that `name` selects in the inventory to use. Raises InputError where it selects none or several."""
    from harness.errors import InputError
    from harness.hosts.inventory import load_inventory

    found = load_inventory(default_inventory(inventory)).select(name)
    if len(found) != 1:
        raise InputError(f"{name!r} names {len(found)} hosts; one is needed", where="HOST", fix="see: nohype hosts")
    return found[0]


def print_json(value: object, indent: int | None = 2) -> None:
    """Print `value` (dataclasses included) as one JSON document; without an indent, on one line."""

    def convert(item: object) -> object:
        if is_dataclass(item) and not isinstance(item, type):
            return asdict(item)
        if isinstance(item, datetime):
            return item.isoformat()
        if isinstance(item, Path):
            return str(item)
        raise TypeError(f"not JSON: {type(item).__name__}")

    json.dump(value, sys.stdout, default=convert, indent=indent, sort_keys=True)
    sys.stdout.write("\n")


@contextmanager
def step(text: str) -> Iterator[None]:
    """Show a long step and its time while it runs, and how long it took when it ends (also when it fails)."""
    with Steps(err).shown() as steps, steps.step(text):
        yield
