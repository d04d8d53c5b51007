"""`nohype kernel`: the NoHype kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from harness.cli.common import InventoryOption, JsonOption, default_inventory, err, out, print_json, step
from harness.errors import ExitCode

if TYPE_CHECKING:
    from harness.kernel.check import Offer
    from harness.kernel.series import Fit

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

    Needs root; about 10 minutes on two cores the first time, less when little has changed. Hosts get it by:
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
def check(
    *,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Record the source that a build takes now in the series' folder, where all patches apply to it.",
        ),
    ] = False,
    series: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Another folder of patches, such as a rebased series.", show_default="kernel/patches"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether Debian's newest source still takes the patches of kernel/patches. Builds nothing, needs no root.

    Two sources are looked at: the one that a build takes now (trixie), and a later one where there is one in trixie's
    proposed or security updates, which builds take after Debian's next release. Each is downloaded (150 MB) unless it
    is in the cache. After a patch that does not fit, those that build on it may not fit either.

    Where the source of now does not take the patches, builds take the recorded one, kernel/patches/6.12/source.yml.

    Exit codes: 0 all patches apply to all sources; 1 some do not; 3 the archive cannot be reached.

    Examples:

      nohype kernel check || mail -s 'rebase the kernel patches' me@example.com

      nohype kernel check --json | jq '.sources[].patches[] | select(.misfits != [])'
    """
    from harness.kernel import recipe
    from harness.kernel import source as sources
    from harness.kernel.check import check as check_source
    from harness.kernel.check import offers
    from harness.kernel.series import read as read_series

    series = series or recipe.series()
    patches = read_series(series)
    found = offers(recipe.SOURCE, step)
    checked = [(offer, check_source(offer, patches, step)) for offer in (found.now, found.ahead) if offer]
    applies = [not any(fit.misfits for fit in fits) for _, fits in checked]
    recorded = record and applies[0] and sources.record(found.now.package, series)
    fallback = sources.recorded(series) if (series / sources.RECORD).exists() else None
    spare = fallback.package.version if fallback else "none"
    if as_json:
        told = [
            {"package": offer.package, "archive": offer.archive, "suite": offer.suite, "patches": fits}
            for offer, fits in checked
        ]
        print_json({"applies": all(applies), "sources": told, "unseen": found.unseen, "recorded": fallback})
    else:
        for offer, fits in checked:
            _print_fits(offer, fits, "what a build takes now" if offer is found.now else "what builds take later")
        if not applies[0]:
            out.print(f"A build takes the recorded source instead: {spare}", soft_wrap=True)
    for why in found.unseen:
        err.print(f"not looked at: {why}", markup=False, soft_wrap=True)
    if recorded:
        err.print(f"recorded {spare} in {series / sources.RECORD}", soft_wrap=True)
    elif record:
        why = "it is that one already" if applies[0] else "the series does not apply to the one that a build takes now"
        err.print(f"the recorded source stays: {spare} ({why})", soft_wrap=True)
    if not all(applies):
        raise typer.Exit(ExitCode.FAILED)


def _print_fits(offer: Offer, fits: tuple[Fit, ...], title: str) -> None:
    out.print(f"[bold]{offer.package.name} {offer.package.version}[/bold] ({offer.suite}): {title}", soft_wrap=True)
    for fit in fits:
        mark, says = ("[red]✗[/red]", "does not apply") if fit.misfits else ("[green]✓[/green]", "applies")
        out.print(f"  {mark} {fit.name} {says}", soft_wrap=True)
        for misfit in fit.misfits:
            out.print(f"      {misfit.file}: {misfit.why}", markup=False, soft_wrap=True)


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
    if kernel.source_why:
        table.add_row("", kernel.source_why)
    table.add_row("digest", kernel.digest)
    table.add_row("folder", str(kernel.folder))
    for number, name in enumerate(kernel.patches):
        table.add_row("patches" if number == 0 else "", name)
    out.print(table)
