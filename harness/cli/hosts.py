"""`nohype hosts`: what there is to work on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from harness.cli.common import InventoryOption, JsonOption, default_inventory, err, one_host, out, print_json, step
from harness.errors import ExitCode, HarnessError, InputError
from harness.hosts.model import Capabilities, Host, PhysicalFunction

app = typer.Typer(
    invoke_without_command=True,
    help="Show the hosts of an inventory with what each can do now, asked of the hosts themselves; switch their"
    " power, boot them into stacks.",
    epilog="Examples: nohype hosts · nohype hosts --limit 'rack*' --json · nohype hosts power rack1 cycle",
)

AT_ONCE = 8  # hosts asked at the same time

HostArgument = Annotated[str, typer.Argument(metavar="HOST", help="A host's name in the inventory.")]


@dataclass(frozen=True)
class Problem:
    what: str
    where: str
    fix: str


@dataclass(frozen=True)
class HostReport:
    """One host of `nohype hosts --json`. Either `capabilities` or `problem` is there."""

    name: str
    address: str
    port: int
    user: str
    fidelity: str
    bmc: str
    stack: str
    free_vfs: int
    capabilities: Capabilities | None
    problem: Problem | None


@app.callback()
def show(
    context: typer.Context,
    limit: Annotated[
        str, typer.Option("--limit", metavar="PATTERN", help="Names, groups or globs: 'a,rack*,!b'.")
    ] = "all",
    inventory: InventoryOption = None,
    json: JsonOption = False,
) -> None:
    """Show hosts and their capabilities. Exit code 3 when one of them cannot be asked."""
    from harness.hosts.inventory import load_inventory

    if context.invoked_subcommand:
        return
    hosts = load_inventory(default_inventory(inventory)).select(limit)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reports = list(pool.map(report, hosts))
    if json:
        print_json(reports)
    else:
        out.print(hosts_table(reports))
        for problem in (found.problem for found in reports if found.problem):
            err.print(str(HarnessError(problem.what, where=problem.where, fix=problem.fix)), markup=False)
    if any(found.problem for found in reports):
        raise typer.Exit(ExitCode.UNAVAILABLE)


@app.command()
def power(
    host: HostArgument,
    action: Annotated[str, typer.Argument(metavar="on|off|cycle|status", help="What the BMC is to do.")] = "status",
    inventory: InventoryOption = None,
) -> None:
    """Switch a host by its BMC, or ask for its power. `off` pulls the plug: running guests and files suffer."""
    from harness.hosts.power import controller

    if action not in ("on", "off", "cycle", "status"):
        raise InputError(f"{action!r} is none of on, off, cycle, status", where="ACTION")
    switch = controller(one_host(host, inventory))
    if action == "status":
        out.print(switch.status())
        return
    with step(f"{host}: power {action}"):
        {"on": switch.on, "off": switch.off, "cycle": switch.cycle}[action]()


@app.command()
def boot(
    host: HostArgument,
    stack: Annotated[str, typer.Option(metavar="STACK", help="A stack the host is provisioned for.")],
    fresh: Annotated[bool, typer.Option("--fresh", help="Reboot also a host that runs the stack already.")] = False,
    inventory: InventoryOption = None,
) -> None:
    """Boot a host into a stack, as campaigns do: its boot entry is chosen, and after the reboot verified.

    Running guests end. Example: nohype hosts boot rack1 --stack kvm-tuned
    """
    from harness.provision.activate import activate
    from harness.provision.stacks import check

    check(stack)
    target = one_host(host, inventory)
    with step(f"{host}: into stack {stack}"):
        seconds = activate(stack, target, force_reboot=fresh)
    out.print(f"{host} runs stack {stack}" + ("" if seconds else "; no reboot was needed"))


@app.command()
def console(host: HostArgument, inventory: InventoryOption = None) -> None:
    """Attach this terminal to a host's serial console (serial-over-LAN); leave with ~. on a line of its own."""
    from harness.hosts.console import attach

    raise typer.Exit(attach(one_host(host, inventory)))


def report(host: Host) -> HostReport:
    """Ask one host what it can do; a host that cannot be asked is reported with the reason."""
    from harness.hosts.discover import capabilities
    from harness.hosts.ssh import connect

    able: Capabilities | None = None
    problem: Problem | None = None
    try:
        with connect(host) as session:
            able = capabilities(session)
    except HarnessError as error:
        problem = Problem(error.what, error.where or host.name, error.fix)
    return HostReport(
        name=host.name,
        address=host.address,
        port=host.port,
        user=host.user,
        fidelity=host.fidelity,
        bmc=host.bmc.kind if host.bmc else "",
        stack=able.stack if able else "",
        free_vfs=sum(free_vfs(pf) for pf in able.physical_functions) if able else 0,
        capabilities=able,
        problem=problem,
    )


def free_vfs(pf: PhysicalFunction) -> int:
    """Virtual functions a guest could have now."""
    return sum(1 for vf in pf.vfs if vf.for_guests and not vf.guest)


def hosts_table(reports: list[HostReport]) -> Table:
    table = Table("host", "stack", "CPU", "IOMMU", "memory", "SR-IOV", box=None, padding=(0, 2, 1, 0))
    for found in reports:
        able = found.capabilities
        start = f"[bold]{found.name}[/bold]\n{found.address}\n{found.fidelity}"
        if able is None:
            table.add_row(start, "[red]see below[/red]")
            continue
        table.add_row(
            start,
            f"{able.stack or '[dim]none of ours[/dim]'}\n{able.kernel}",
            _cpu(able),
            _iommu(able),
            _memory(able),
            "\n".join(_function(pf) for pf in able.physical_functions) or "-",
        )
    return table


def _iommu(able: Capabilities) -> str:
    if able.xen:
        return "Xen's" if able.xen.directio else "-"
    return f"{able.iommu_groups} groups" if able.iommu_groups else "-"


def _cpu(able: Capabilities) -> str:
    paging = {"svm": "NPT", "vmx": "EPT"}.get(able.virtualization, "")
    words = [able.virtualization.upper() or "[red]no SVM/VMX[/red]"]
    if able.virtualization:
        words.append(paging if able.nested_paging else f"[red]no {paging}[/red]")
    if not able.xen:  # which shows none to its control domain
        words.append("x2APIC" if able.x2apic else "no x2APIC")
    isolated = f", {len(able.isolated)} isolated" if able.isolated else ""
    lost = f"\n[bold red]lost: {', '.join(map(str, able.lost))}; reboot it[/bold red]" if able.lost else ""
    return f"{', '.join(words)}\n{able.cores} cores{isolated}{lost}"


def _memory(able: Capabilities) -> str:
    total, free = able.hugepages_total.get("2048", 0), able.hugepages_free.get("2048", 0)
    if able.xen:
        return f"{able.memory_mib} MiB\n{able.xen.free_mib} MiB for guests free"
    return f"{able.memory_mib} MiB\n" + (f"{free} of {total} 2M pages free" if total else "no 2M pages")


def _function(pf: PhysicalFunction) -> str:
    name = f"{pf.netdev or pf.address} ({pf.driver})"
    return (
        f"{name}: {free_vfs(pf)} of {len(pf.vfs)} VFs free"
        if pf.vfs
        else f"{name}: no VFs yet, {pf.total_vfs} possible"
    )
