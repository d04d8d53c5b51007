"""`nohype kernel`: the NoHype kernel."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from harness.cli.common import InventoryOption, JsonOption, default_inventory, out, print_json, step

app = typer.Typer(
    no_args_is_help=True,
    help="The NoHype kernel of hosts and guests: Debian's source, the patches in kernel/patches, a configuration.\n\n"
    "Example: sudo nohype kernel build && nohype provision --stack nohype",
)


@app.command()
def build(
    *,
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="rack; debug: with KASAN and lockdep, slow; instrumented: with function tracing and kcov. "
            "Default: NOHYPE_KERNEL, else rack.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build the kernel of kernel/patches and kernel/configs/rack.config, or find it in the cache.

    Needs root; about 6 minutes on two cores the first time, less when little has changed. Hosts get it by:
    nohype provision --stack nohype

    With NOHYPE_KERNEL=debug in the environment every command means the kernel that --variant debug builds.
    """
    from harness.kernel import recipe
    from harness.kernel.build import build as build_kernel

    folder = build_kernel(recipe.variant(variant) if variant else recipe.chosen(), step)
    if as_json:
        print_json({"folder": folder})
    else:
        out.print(str(folder), soft_wrap=True)


@app.command()
def package(
    *,
    hosts: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Only the drivers that these hosts have loaded now.", show_default=False),
    ] = None,
    inventory: InventoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build Debian packages of the kernel for real hosts: Debian's configuration, kernel/configs/full.config over it.

    Needs root, 20 GB and, with the drivers of all servers, an hour or two; with --hosts, of what these hosts have
    loaded at this moment and what the stacks need, a fraction of that. Install the linux-image package on a host
    (apt install --reinstall ./FILE) and name its release in the inventory: nohype_kernel_release.

    Example: sudo nohype kernel package --hosts 'node*' --inventory inventory/lab.yml
    """
    from harness.kernel.build import package as package_kernel

    modules: frozenset[str] = frozenset()
    if hosts is not None:
        from harness.hosts.inventory import load_inventory
        from harness.hosts.ssh import connect
        from harness.kernel.modules import loaded

        for host in load_inventory(default_inventory(inventory)).select(hosts):
            with step(f"{host.name}: which modules are loaded"), connect(host) as session:
                modules |= loaded(session)
    folder = package_kernel(step, modules)
    packages = sorted(folder.glob("*.deb"))
    if as_json:
        print_json({"folder": folder, "packages": packages})
        return
    for path in packages:
        out.print(str(path), soft_wrap=True)


@app.command()
def show(as_json: JsonOption = False) -> None:
    """Show the built kernel: release, source, patches, folder. Exit code 3 when today's is not built."""
    from harness.kernel.image import current

    kernel = current()
    if as_json:
        print_json(kernel)
        return
    table = Table(box=None, show_header=False)
    table.add_row("release", kernel.release)
    table.add_row("source", f"linux-source {kernel.source}")
    table.add_row("digest", kernel.digest)
    table.add_row("folder", str(kernel.folder))
    for number, name in enumerate(kernel.patches):
        table.add_row("patches" if number == 0 else "", name)
    out.print(table)
