"""`nohype rack`: the emulated rack."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from harness.cli.common import JsonOption, err, out, print_json, step
from harness.errors import InputError, UnavailableError
from harness.rack import control, snapshot
from harness.rack.description import default_rack_file, load_rack
from harness.rack.layout import rack_inventory

app = typer.Typer(
    no_args_is_help=True,
    help="The emulated rack: complete servers under QEMU, each with SVM, IOMMU, SR-IOV NIC, disk, boot loader and BMC.",
    epilog="Example: nohype rack up && nohype hosts && nohype rack down",
)

HostArgument = Annotated[str, typer.Argument(metavar="HOST", help="Name of a rack host, e.g. rack1.")]


@app.command()
def build() -> None:
    """Build all that the rack and its stacks are made of, ahead of time: toolbox, images, the NoHype kernel.

    Switches nothing on. Needs root. It says first how long it takes on this machine and what it needs; with too little
    disk or memory it ends there, with exit code 3. What is in the cache takes no time.
    """
    from harness.cli.needs import needs, needs_view
    from harness.cli.progress import Steps
    from harness.kernel import recipe
    from harness.kernel.build import build as build_kernel
    from harness.parallel import side_by_side
    from harness.toolbox.process import require_root

    require_root("the emulated rack")
    begun = time.monotonic()
    found = needs(default_rack_file(), kernel=True, runs=False)
    err.print(needs_view(found))
    found.check()
    with Steps(err, begun=begun, left=found.estimate.left).shown() as steps:
        side_by_side(lambda: control.build(steps.step), lambda: build_kernel(recipe.chosen(), steps.step))


@app.command()
def up(
    rack: Annotated[
        Path | None, typer.Option("--rack", help="Rack file. Default: inventory/rack/rack.yml.", show_default=False)
    ] = None,
) -> None:
    """Build what is missing, switch every host on, wait for SSH. Safe to run again. Needs root."""
    file = rack or default_rack_file()
    description, cores = load_rack(file), len(os.sched_getaffinity(0))
    if description.crowded(cores):
        hosts = len(description.hosts)
        err.print(f"note: {hosts} hosts on {cores} cores wait for each other; boots may take many minutes")
    control.up(file, step)
    err.print(f"The rack is up. Inventory: {rack_inventory()}")


@app.command()
def down() -> None:
    """Switch every host off and delete the rack's disks; images stay in the cache. Safe to run again."""
    with step("rack down"):
        there_was_one = control.down()
    if not there_was_one:
        err.print("There was no rack.")


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Show each host's BMC, power and SSH. Exit code 3 when no rack is up."""
    states = control.status()
    if as_json:
        print_json(states)
    elif states:
        table = Table("host", "address", "BMC", "power", "SSH", "console log")
        for state in states:
            ssh = "answers" if state.ssh else "-"
            table.add_row(state.name, state.address, state.bmc, state.power, ssh, str(state.console_log))
        out.print(table)
    if not states:
        raise UnavailableError("the emulated rack is not up", fix="nohype rack up")


@app.command()
def power(
    host: HostArgument,
    action: Annotated[str, typer.Argument(metavar="on|off|cycle", help="What the BMC is to do.")],
) -> None:
    """Switch a host by its BMC (IPMI), as on a lab machine: `off` pulls the plug."""
    if action not in ("on", "off", "cycle"):
        raise InputError(f"{action!r} is none of on, off, cycle")
    rack = control.current()
    slot = rack.slot(host)
    if action in ("off", "cycle"):
        with step(f"{host}: power off"):
            control.power_off(rack, slot)
    if action in ("on", "cycle"):
        with step(f"{host}: power on until SSH answers"):
            control.power_on(rack, slot)
            control.await_ssh(slot)


@app.command()
def save(
    host: HostArgument,
    name: Annotated[str, typer.Argument(help="Name of the snapshot.")] = "ready",
) -> None:
    """Save a running host (memory, devices, disk) so that it can be restored in seconds."""
    rack = control.current()
    with step(f"{host}: save {name!r}"):
        snapshot.save(rack.slot(host), name)


@app.command()
def restore(
    host: HostArgument,
    name: Annotated[str, typer.Argument(help="Name of the snapshot.")] = "ready",
) -> None:
    """Put a host back to where it was saved, instead of booting it."""
    rack = control.current()
    start = time.monotonic()
    with step(f"{host}: restore {name!r}"):
        snapshot.restore(rack, rack.slot(host), name)
    err.print(f"{host} answers SSH {time.monotonic() - start:.1f} s after the request.")


@app.command()
def console(
    host: HostArgument,
    log: Annotated[bool, typer.Option("--log", help="Print the console's log instead of attaching.")] = False,
) -> None:
    """Attach to a host's serial console by serial-over-LAN (leave with ~. on a line of its own)."""
    rack = control.current()
    slot = rack.slot(host)
    if log:
        out.print(slot.console_log.read_text(encoding="utf-8", errors="replace"), markup=False, highlight=False)
        return
    argv = rack.tools.command(control.ipmi_argv(slot, "sol", "activate"), binds=[slot.folder.parent.parent])
    os.execvp(argv[0], argv)  # noqa: S606 - no shell is wanted; the console takes over this terminal
