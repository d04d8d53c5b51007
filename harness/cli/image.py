"""`nohype image`: the guest image."""

from __future__ import annotations

import typer

from harness.cli.common import JsonOption, out, print_json, step
from harness.guests.build import build as build_guest_image

app = typer.Typer(no_args_is_help=True, help="The guest image: a small Debian with sshd and the workloads' programs.")


@app.callback()
def image() -> None:
    """Options of the group: none. With a callback a lone command keeps its name."""


@app.command()
def build(as_json: JsonOption = False) -> None:
    """Build the guest image, or find it in the cache. Needs root; about a minute and a half the first time."""
    folder = build_guest_image(step)
    if as_json:
        print_json({"folder": folder})
    else:
        out.print(str(folder), soft_wrap=True)
