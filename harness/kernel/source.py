"""Which source a kernel is built from: the one that Debian's archive offers, or the recorded one that takes the series.

Debian's kernel moves on, and one day the series no longer applies to it. The version that last took it is recorded in
the repository, with the hash of its package; it is built then, from wherever that package is still to be had.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from harness.config import FileModel, load
from harness.errors import InputError, UnavailableError
from harness.kernel.series import Enter, Patches, apply
from harness.steps import Step
from harness.toolbox.archive import Package, fetched, snapshot
from harness.toolbox.debian import mirror
from harness.toolbox.process import run

RECORD = "source.yml"  # in the folder of the series
REBASE = "rebase the series on that source (kernel/README.md, Changing the patches)"
_HEADER = """\
# The source to which this series was last seen to apply. A build takes it where the archive's newest does not take the
# series. Written by: nohype kernel check --record
"""


class _Record(FileModel):
    package: str
    version: str
    path: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size: int
    seen: Annotated[str, Field(pattern=r"^\d{8}T\d{6}Z$")]


@dataclass(frozen=True)
class Recorded:
    """A source that takes the series."""

    package: Package
    seen: str  # when the archive had it, as dated mirrors write times: 20261129T000000Z

    def archives(self) -> tuple[str, ...]:
        """Where to look for it: the mirror in use, then the dated one."""
        return (mirror(), f"{snapshot().rstrip('/')}/{self.seen}")


@dataclass(frozen=True)
class Source:
    """What was unpacked."""

    version: str
    why: str  # it and not the one the archive offers; "" where it is that one


class _DoesNotApplyError(InputError):
    """The series does not apply to this source."""


def recorded(series: Path) -> Recorded:
    """The source recorded in the folder of a series. Raises InputError where the file is missing or wrong."""
    record, _ = load(series / RECORD, _Record)
    package = Package(record.package, record.version, record.path, record.sha256, record.size)
    return Recorded(package, record.seen)


def record(package: Package, series: Path) -> bool:
    """Record that the archive has this package now. False where it was recorded already, and all is left as it was."""
    path = series / RECORD
    if path.exists() and recorded(series).package == package:
        return False
    fields = {key: value for key, value in asdict(package).items() if key != "name"}
    document = {"package": package.name, **fields, "seen": f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"}
    path.write_text(_HEADER + yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return True


def unpack(
    tree: Path, offered: tuple[str, Path], patches: Patches, fallback: Recorded, step: Step, enter: Enter
) -> Source:
    """Make `tree` the offered source (its version, and the tar archive of it) with the series; else the recorded one.

    `tree` and its neighbours, which it takes for scratch, must be visible to the programs of `enter`; so must the
    offered archive, by the path that is given. Raises InputError where neither source takes the series,
    UnavailableError where the recorded one is needed and found nowhere.
    """
    version, archive = offered
    name, spare = fallback.package.name, fallback.package.version
    try:
        with step(f"kernel: source {version}, {len(patches)} patches"):
            _fill(tree, archive, f"{name} {version}", patches, enter)
    except _DoesNotApplyError as error:
        if version == spare:
            raise
        why = error.what
    else:
        return Source(version, "")
    with step(f"kernel: {why}; building the recorded {spare} instead"):
        shutil.rmtree(tree)
        try:
            package = fetched(fallback.package, fallback.archives())
            unpacked = tree.with_name("recorded")
            run(["dpkg-deb", "--extract", package, unpacked])
            _fill(tree, unpacked / f"usr/src/{name}.tar.xz", f"{name} {spare}", patches, enter)
            shutil.rmtree(unpacked)
        except (UnavailableError, _DoesNotApplyError) as error:
            what = f"{why}; and the recorded {spare} cannot be built instead: {error.what}"
            raise type(error)(what, where=error.where, fix=error.fix) from None
    return Source(spare, f"recorded; {why}")


def _fill(tree: Path, archive: Path, title: str, patches: Patches, enter: Enter) -> None:
    tree.mkdir()
    run(enter(["tar", "--extract", "--file", str(archive), "--directory", str(tree), "--strip-components=1"]))
    for fit in apply(patches, tree, enter):
        if fit.misfits:
            raise _DoesNotApplyError(f"the series does not apply to {title} ({fit})", where=fit.name, fix=REBASE)
