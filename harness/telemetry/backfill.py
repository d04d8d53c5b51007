"""A finished campaign for a Prometheus that was not there: OpenMetrics text, and blocks made of it by promtool."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.openmetrics.exposition import generate_latest

from harness.errors import HarnessError, InputError, StorageError
from harness.onhost.catalogue import Family
from harness.results.model import CampaignRecord
from harness.results.store import Store
from harness.telemetry.history import families, history, load

_PROMTOOL_SECONDS = 600.0


@dataclass(frozen=True)
class _Page:
    """What prometheus_client calls a registry."""

    found: list[Family]

    def collect(self) -> Iterable[Family]:
        return self.found


def openmetrics(store: Store, record: CampaignRecord) -> bytes:
    """The campaign's readings, each with its time. Raises InputError for a campaign that has not ended."""
    if record.ended_at is None:
        raise InputError(
            f"campaign {record.id} has not ended, and a Prometheus' history cannot be added to twice",
            where=store.name,
            fix=f"let it end: nohype campaign resume {record.id} (or cancel)",
        )
    rows = ((each.metric, each.labels, each.value, each.at.timestamp()) for each in history(load(store, record)))
    return bytes(generate_latest(_Page(families(rows))))  # type: ignore[no-untyped-call]


def write(store: Store, record: CampaignRecord, path: Path) -> Path:
    """Write a new file. Raises InputError where there is one, StorageError where it cannot be written."""
    if path.exists():
        raise InputError("there is such a file already", where=str(path), fix="name another one, or remove it")
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(openmetrics(store, record))
        part.replace(path)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from None
    finally:
        part.unlink(missing_ok=True)
    return path


def backfill(store: Store, record: CampaignRecord, data: Path, promtool: list[str] | None = None) -> tuple[Path, ...]:
    """Add the campaign's history to a Prometheus' data folder as blocks; the new blocks' folders.

    `promtool` is the argument list that runs it, with `data` visible to it at the same path. A Prometheus that runs on
    the folder finds the blocks by itself, within moments. The blocks belong to whom the folder belongs to.
    Raises InputError where `data` is no such folder or has the campaign already, HarnessError where promtool fails.
    """
    if not data.is_dir():
        raise InputError("there is no such folder", where=str(data), fix="name the folder of --storage.tsdb.path")
    mark = data / f".nohype-{record.id}"
    if mark.exists():
        raise InputError(
            f"campaign {record.id} is in these data already",
            where=str(mark),
            fix="its blocks are named in that file; remove those and the file to add it anew",
        )
    with tempfile.TemporaryDirectory(prefix=".nohype-backfill-", dir=data) as scratch:
        source, made = Path(scratch) / "campaign.om", Path(scratch) / "blocks"
        made.mkdir()
        source.write_bytes(openmetrics(store, record))
        words = ["tsdb", "create-blocks-from", "openmetrics", str(source), str(made)]
        _run([*(promtool or _promtool(data)), *words])
        # Each block appears whole: Prometheus may be looking.
        owner = data.stat()
        found = []
        for block in sorted(made.iterdir()):
            for path in (block, *block.rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid)
            found.append(block.rename(data / block.name))
        mark.write_text("".join(f"{block.name}\n" for block in found), encoding="utf-8")
    return tuple(found)


def _promtool(data: Path) -> list[str]:
    from harness.toolbox.root import prometheus_program

    return prometheus_program("promtool", "promtool", [data])


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_PROMTOOL_SECONDS)
    if done.returncode != 0:
        last = " | ".join((done.stderr or done.stdout).splitlines()[-3:])
        raise HarnessError(f"promtool failed: {last or '(it said nothing)'}", where=" ".join(argv[-5:]))
