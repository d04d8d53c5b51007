"""`nohype kernel`: the NoHype kernel."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from harness.cli.common import JsonOption, out, print_json, step

app = typer.Typer(
    no_args_is_help=True,
    help="The NoHype kernel of hosts and guests: Debian's source, the patches in kernel/patches, a configuration.\n\n"
    "Example: sudo nohype kernel build && nohype provision --stack nohype",
)


@app.command()
def build(
    *,
    debug: Annotated[
        bool, typer.Option("--debug", help="With KASAN and lockdep (kernel/configs/debug.config); slow.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build the kernel of kernel/patches and kernel/configs/rack.config, or find it in the cache.

    Needs root; 10 to 20 minutes on two cores the first time, a few when little has changed. Hosts get it by:
    nohype provision --stack nohype

    With NOHYPE_KERNEL=debug in the environment every command means the kernel that --debug builds.
    """
    from harness.kernel import recipe
    from harness.kernel.build import build as build_kernel

    folder = build_kernel(recipe.debug() if debug else recipe.chosen(), step)
    if as_json:
        print_json({"folder": folder})
    else:
        out.print(str(folder), soft_wrap=True)


@app.command()
def package(as_json: JsonOption = False) -> None:
    """Build Debian packages of the kernel for real hosts: Debian's configuration, kernel/configs/full.config over it.

    Needs root, 20 GB and, with the drivers of all servers, an hour or two. Install the linux-image package on a host
    (apt install --reinstall ./FILE) and name its release in the inventory: nohype_kernel_release.
    """
    from harness.kernel.build import package as package_kernel

    folder = package_kernel(step)
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
