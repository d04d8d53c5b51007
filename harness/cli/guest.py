"""`nohype guest`: guests made by hand, for looking around."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from harness.cli.common import InventoryOption, JsonOption, default_inventory, err, one_host, out, print_json, step
from harness.config import nearest
from harness.errors import ExitCode, GuestError, InputError, UnavailableError
from harness.guests.model import ICR, USUAL, Disengagement, Guest
from harness.paths import state_dir

if TYPE_CHECKING:
    from harness.hosts.ssh import HostSession

app = typer.Typer(
    no_args_is_help=True,
    help="Make, look into and destroy guests on a host. Campaigns make their own; these are for looking around.\n\n"
    "Example: nohype guest create host1 --name probe && nohype guest ssh host1 probe",
)

HostArgument = Annotated[str, typer.Argument(metavar="HOST", help="A host's name in the inventory.")]
NameArgument = Annotated[str, typer.Argument(metavar="GUEST", help="The guest's name (see: nohype guest list).")]


@app.command()
def create(
    host: HostArgument,
    name: Annotated[str, typer.Option(help="a-z, 0-9 and '-'; used once per boot of the host.")],
    stack: Annotated[
        str | None, typer.Option(help="Make the guest as this stack does. Default: the one the host runs.")
    ] = None,
    vcpus: Annotated[int, typer.Option(min=1, help="Virtual CPUs.")] = 1,
    memory: Annotated[int, typer.Option(min=64, metavar="MIB", help="Memory in MiB.")] = 512,
    icr: Annotated[
        str | None,
        typer.Option(
            metavar="closed|open",
            help="Of a guest of stack nohype: which interrupts it may send. open is unsafe, for such a guest can reset "
            "its host; several vCPUs need it. Default: closed.",
            show_default=False,
        ),
    ] = None,
    disengage_within: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=3600,
            metavar="SECONDS",
            help="Of a guest of stack nohype: kill it when it has not left its hypervisor by then. Default: 120.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="Wait this long for SSH; 0: do not.")] = 180,
    inventory: InventoryOption = None,
    json: JsonOption = False,
) -> None:
    """Start a guest on HOST and wait until it answers SSH.

    The host must be provisioned: nohype provision --stack kvm --limit HOST.
    """
    from harness import stacks
    from harness.guests import image, lifecycle
    from harness.hosts.discover import capabilities
    from harness.hosts.ssh import connect

    if icr not in (None, *ICR):
        raise InputError(f"{icr!r} is neither closed nor open{nearest(icr, ICR)}", where="--icr")
    wish = Disengagement(icr or USUAL.icr, disengage_within or USUAL.seconds)
    wished = "--icr" if icr else "--disengage-within" if disengage_within else ""
    chosen = stacks.get(stack) if stack else None
    if chosen:
        _check_disengagement(chosen.name, vcpus, wish, wished)
    target = one_host(host, inventory)
    guest_image = image.current()
    with connect(target) as session:
        able = capabilities(session)
        if chosen is None and not able.stack:
            raise UnavailableError(
                "the host was not booted into a stack", where=host, fix=f"nohype hosts boot {host} --stack kvm"
            )
        chosen = chosen or stacks.get(able.stack)
        _check_disengagement(chosen.name, vcpus, wish, wished)
        lifecycle.check_cores(session)
        problems = chosen.problems(able)
        if problems:
            raise UnavailableError(f"cannot run stack {chosen.name}: {'; '.join(problems)}", where=host)
        known = lifecycle.list_guests(session)
        lifecycle.check_name(name, known, where=host)
        busy = lifecycle.busy_cores(known)
        spec = chosen.guest_spec(name, vcpus, memory, guest_image.digest, able, busy, wish)
        with step(f"{host}: start guest {name} ({chosen.title})"):
            guest = lifecycle.create(session, spec)
        if wait:
            with step(f"{host}: guest {name} boots"):
                lifecycle.await_ssh(session, guest, wait)
    if json:
        print_json(guest)
    else:
        out.print(f"guest {guest.name} at {guest.address}; look inside: nohype guest ssh {host} {guest.name}")


def _check_disengagement(stack: str, vcpus: int, wish: Disengagement, wished: str) -> None:
    """Raises InputError for several vCPUs without an open ICR, and for a wish about guests that never disengage.

    `wished` is the option that was given; "" for none.
    """
    from harness import stacks

    if stack == stacks.LEAVES_HYPERVISOR:
        try:
            wish.check(vcpus)
        except InputError as error:
            raise InputError(error.what, where="--vcpus", fix=error.fix) from None
    elif wished:
        what = f"guests of stack {stack} keep their hypervisor"
        raise InputError(what, where=wished, fix=f"leave it out, or take stack {stacks.LEAVES_HYPERVISOR}")


@app.command("list")
def list_command(
    hosts: Annotated[str, typer.Argument(metavar="[HOSTS]", help="A pattern of host names. Default: all.")] = "all",
    inventory: InventoryOption = None,
    json: JsonOption = False,
) -> None:
    """Show every guest since each host's boot, ended ones too (their exit counts stay)."""
    from harness.guests import lifecycle
    from harness.hosts.inventory import load_inventory
    from harness.hosts.ssh import connect

    found: dict[str, tuple[Guest, ...]] = {}
    for host in load_inventory(default_inventory(inventory)).select(hosts):
        with connect(host) as session:
            found[host.name] = lifecycle.list_guests(session)
    if json:
        print_json(found)
        return
    if any(found.values()):
        out.print(guests_table(found))
    else:
        out.print(f"no guests on {', '.join(found)}; make one: nohype guest create HOST --name NAME")


def guests_table(found: Mapping[str, tuple[Guest, ...]]) -> Table:
    """Guests by host. Of those without hypervisor also what they are now, and of killed ones why."""
    table = Table("host", "guest", "stack", "state", "engagement", "address", "vCPUs", "cores", "MiB", "VF", box=None)
    for host_name, guests in found.items():
        for guest in guests:
            state = f"[green]{guest.state}[/green]" if guest.state == "running" else f"[dim]{guest.state}[/dim]"
            death = guest.death
            engagement = f"[red]{death}[/red]" if death else guest.engagement.state or "-"
            lost = ", ".join(map(str, guest.engagement.lost))
            engagement += f", [bold red]lost cores: {lost}; reboot the host[/bold red]" if lost else ""
            engagement += ", [bold red]unsafe: icr open[/bold red]" if guest.icr == "open" else ""
            cores = ",".join(map(str, guest.cpus)) or "any"
            counts = (str(guest.vcpus), cores, str(guest.memory_mib), guest.vf or "-")
            table.add_row(host_name, guest.name, guest.stack, state, engagement, guest.address, *counts)
    return table


@app.command()
def destroy(
    host: HostArgument,
    name: Annotated[str | None, typer.Argument(metavar="[GUEST]", help="The guest's name.")] = None,
    all_guests: Annotated[bool, typer.Option("--all", help="Every running guest of the host.")] = False,
    inventory: InventoryOption = None,
    json: JsonOption = False,
) -> None:
    """Stop a guest. Its disk and memory are gone; its exit counts stay until the host boots.

    Exit code 1 where a core of it is lost: then the host must be rebooted.
    """
    from harness.guests import lifecycle
    from harness.hosts.ssh import connect

    if (name is None) != all_guests:
        raise InputError("name one guest, or --all", where="nohype guest destroy", fix=f"see: nohype guest list {host}")
    with connect(one_host(host, inventory)) as session:
        ended = lifecycle.destroy_all(session) if name is None else (lifecycle.destroy(session, name),)
    if json:
        print_json(ended)
    else:
        out.print(f"destroyed: {', '.join(guest.name for guest in ended) or 'nothing was running'}")
    lost = sorted({core for guest in ended for core in guest.engagement.lost})
    if lost:
        err.print(
            f"[red]{host} has lost cores {', '.join(map(str, lost))}[/red]: they were not confirmed to have left their "
            "guest, whose memory and network function stay taken; reboot the host"
        )
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def kill(host: HostArgument, name: NameArgument, inventory: InventoryOption = None, json: JsonOption = False) -> None:
    """Kill a guest that has no hypervisor (stack nohype), as any VM exit would.

    It tells how it ended (nohype guest list) and keeps its memory until it is destroyed.
    """
    from harness.guests import lifecycle
    from harness.hosts.ssh import connect

    with connect(one_host(host, inventory)) as session:
        guest = lifecycle.kill(session, name)
    if json:
        print_json(guest)
    else:
        out.print(f"guest {name} was {guest.death}; clear it away: nohype guest destroy {host} {name}")


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(
    host: HostArgument,
    name: NameArgument,
    command: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND]...", help="Run this, not a shell.")] = None,
    inventory: InventoryOption = None,
) -> None:
    """Log in to a guest as root, through its host; or run one command: nohype guest ssh host1 probe uname -a.

    The keys of host and guest are verified: the guest's is that of its image.
    """
    from harness.cli.ssh_config import guest_config
    from harness.guests import image
    from harness.hosts.ssh import connect

    target = one_host(host, inventory)
    with connect(target) as session:
        guest = _running(session, name)
    config = guest_config(state_dir() / "ssh", target, guest, image.by_digest(guest.image))
    _become(["ssh", "-F", str(config), "guest", *(["--", *command] if command else [])])


@app.command()
def console(
    host: HostArgument,
    name: NameArgument,
    log: Annotated[bool, typer.Option("--log", help="Print what the console has said so far, and end.")] = False,
    inventory: InventoryOption = None,
) -> None:
    """A guest's serial console; Ctrl-] leaves. For guests that SSH does not reach."""
    from harness.cli.ssh_config import host_config
    from harness.guests import lifecycle
    from harness.hosts.ssh import connect

    target = one_host(host, inventory)
    with connect(target) as session:
        if log:
            guest = _known(lifecycle.list_guests(session), name, host)
            sys.stdout.write(session.run(["cat", guest.console], sudo=True).stdout)
            return
        guest = _running(session, name)
    config = host_config(state_dir() / "ssh", target)
    _become(["ssh", "-F", str(config), "-t", "host", "--", "sudo", "-n", "nohype-host", "guest", "console", guest.name])


def _running(session: HostSession, name: str) -> Guest:
    from harness.guests import lifecycle

    guest = _known(lifecycle.list_guests(session), name, session.host_name)
    if guest.state != "running":
        raise GuestError(
            f"guest {name!r} has ended", where=session.host_name, fix="its last words: nohype guest console --log"
        )
    return guest


def _known(guests: tuple[Guest, ...], name: str, host: str) -> Guest:
    for guest in guests:
        if guest.name == name:
            return guest
    known = nearest(name, [guest.name for guest in guests])
    raise InputError(f"no guest {name!r} on {host}{known}", where="GUEST", fix=f"see: nohype guest list {host}")


def _become(argv: list[str]) -> None:
    """Replace this process by the program, so that terminal, signals and exit status are its own."""
    sys.stdout.flush()
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is wanted
    except FileNotFoundError:
        raise UnavailableError(
            f"program {argv[0]!r} is not installed", where="PATH", fix="apt install openssh-client"
        ) from None
