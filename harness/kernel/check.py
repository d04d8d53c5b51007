"""Whether the sources that Debian's archive has now still take the series; without a build, and without root."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UnavailableError
from harness.kernel.series import Fit, Patches, apply, touched
from harness.steps import Step
from harness.toolbox.archive import Package, fetched, later, newest, security_mirror
from harness.toolbox.debian import mirror

SUITE = "trixie"  # what the builders' roots are made of


@dataclass(frozen=True)
class Offer:
    """A source that an archive has."""

    package: Package
    archive: str  # its address
    suite: str


@dataclass(frozen=True)
class Offers:
    """What there is to check."""

    now: Offer  # what a build takes today
    ahead: Offer | None  # a later version that the suite will have: from its updates
    unseen: tuple[str, ...]  # updates that could not be looked at, with the reason


def offers(name: str, step: Step) -> Offers:
    """The newest versions of source package `name`. Raises UnavailableError where the suite cannot be had."""
    places = [(mirror(), SUITE), (mirror(), f"{SUITE}-proposed-updates")]
    if security := security_mirror():
        places.append((security, f"{SUITE}-security"))

    def look(place: tuple[str, str]) -> Offer | UnavailableError | None:
        archive, suite = place
        try:
            package = newest(name, archive, suite)
        except UnavailableError as error:
            return error
        return Offer(package, archive, suite) if package else None

    with step(f"{mirror()}: the newest {name}"), ThreadPoolExecutor(len(places)) as pool:
        now, *updates = pool.map(look, places)
    if isinstance(now, UnavailableError):
        raise now
    if now is None:
        where = f"{mirror()} {SUITE}"
        raise UnavailableError(f"the suite has no {name}", where=where, fix="is NOHYPE_DEBIAN_MIRROR a whole mirror?")
    best = now
    for update in updates:
        if isinstance(update, Offer) and later(update.package.version, best.package.version):
            best = update
    unseen = (f"{update.where}: {update.what}" for update in updates if isinstance(update, UnavailableError))
    return Offers(now, None if best is now else best, tuple(unseen))


def check(offer: Offer, patches: Patches, step: Step) -> tuple[Fit, ...]:
    """How each patch goes in, on what those before it left. Raises UnavailableError where the source cannot be had."""
    name, version = offer.package.name, offer.package.version
    with step(f"{name} {version}: {offer.package.size / 1e6:.0f} MB from the archive or the cache"):
        package = fetched(offer.package, [offer.archive])
    with (
        step(f"{name} {version}: apply {len(patches)} patches"),
        tempfile.TemporaryDirectory(prefix="nohype-series-") as folder,
    ):
        tree = Path(folder, "source")
        tree.mkdir()
        _extract(package, f"./usr/src/{name}.tar.xz", touched(patches), tree)
        return tuple(apply(patches, tree, enter=lambda argv: argv))


def _extract(package: Path, archive: str, wanted: Collection[str], tree: Path) -> None:
    """Lay those of the wanted files into `tree` that the source in the package has; the rest is not unpacked."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpacking:
        try:
            with tarfile.open(fileobj=unpacking.stdout, mode="r|") as files:
                member = next((file for file in files if file.name == archive), None)
                source = files.extractfile(member) if member else None
                if source is None:
                    raise HarnessError(f"there is no {archive} in it", where=str(package))
                with tarfile.open(fileobj=source, mode="r|xz") as sources:
                    for file in sources:
                        _, _, name = file.name.partition("/")
                        content = sources.extractfile(file) if name in wanted else None
                        if content:
                            target = tree / name
                            target.parent.mkdir(parents=True, exist_ok=True)
                            target.write_bytes(content.read())
        finally:
            unpacking.kill()  # what follows the source in the package is of no interest
