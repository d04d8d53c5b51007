"""Results for other programs: CSV and Parquet with one row per figure, JSON with everything there is."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harness.config import nearest
from harness.errors import InputError, StorageError
from harness.results.model import CampaignRecord, TrialRecord
from harness.results.store import Store

FORMATS = ("csv", "parquet", "json")

# One row per metric and per (vCPU, reason) of a trial, each with its provenance; a trial without figures has one row
# of kind "none", so that failures cannot get lost.
COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("campaign", "block", "trial", "host", "stack", "workload")),
        ("repeat", pa.int64()),
        ("order", pa.int64()),
        *((name, pa.string()) for name in ("status", "failure", "guest", "boot_id", "fidelity", "fingerprint")),
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("seconds", pa.float64()),
        ("overhead_seconds", pa.float64()),
        *((name, pa.string()) for name in ("kind", "name")),
        ("vcpu", pa.int64()),
        ("value", pa.float64()),
        *((name, pa.string()) for name in ("unit", "direction", "revision", "harness_version")),
        ("seed", pa.int64()),
    ]
)


def export(store: Store, campaign_id: str, fmt: str, path: Path) -> Path:
    """Write a campaign's results to a new file at `path`.

    Raises InputError for an unknown campaign or format and an existing `path`, StorageError where it cannot
    be written.
    """
    if fmt not in FORMATS:
        raise InputError(
            f"unknown format {fmt!r}{nearest(fmt, FORMATS)}",
            where="--format",
            fix=f"formats: {', '.join(FORMATS)}, openmetrics",
        )
    campaign = store.campaign(campaign_id)
    if path.exists():
        raise InputError("there is such a file already", where=str(path), fix="name another one, or remove it")
    data = _json(store, campaign) if fmt == "json" else _table(fmt, list(rows(campaign, store.trials(campaign.id))))
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from None
    return path


def rows(campaign: CampaignRecord, trials: tuple[TrialRecord, ...]) -> Iterator[dict[str, object]]:
    """The rows of CSV and Parquet, with the keys of COLUMNS."""
    for trial in trials:
        base: dict[str, object] = {
            "campaign": trial.campaign_id,
            "block": trial.block_id,
            "trial": trial.id,
            "host": trial.host,
            "stack": trial.stack,
            "workload": trial.workload,
            "repeat": trial.repeat,
            "order": trial.order,
            "status": trial.status.value,
            "failure": trial.failure,
            "guest": trial.guest,
            "boot_id": trial.boot_id,
            "fidelity": trial.fidelity.value,
            "fingerprint": trial.fingerprint,
            "started_at": trial.started_at,
            "seconds": trial.seconds,
            "overhead_seconds": trial.overhead_seconds,
            "revision": campaign.revision,
            "harness_version": campaign.harness_version,
            "seed": campaign.seed,
        }
        none: dict[str, object] = {"name": "", "vcpu": None, "value": None, "unit": "", "direction": ""}
        if not trial.metrics and not trial.exits:
            yield base | none | {"kind": "none"}
        for metric in trial.metrics:
            yield base | none | {"kind": "metric", **asdict(metric), "direction": metric.direction.value}
        for row in trial.exits:
            found = {"kind": "exits", "name": row.reason, "vcpu": row.vcpu, "value": float(row.count)}
            yield base | none | found | {"direction": "lower"}


def _table(fmt: str, found: list[dict[str, object]]) -> bytes:
    if fmt == "parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(found, schema=COLUMNS), sink)
        return bytes(sink.getvalue().to_pybytes())
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS.names, lineterminator="\n")
    writer.writeheader()
    for row in found:
        writer.writerow({key: _plain(value) for key, value in row.items()})
    return text.getvalue().encode()


def _json(store: Store, campaign: CampaignRecord) -> bytes:
    document = {
        "campaign": asdict(campaign),
        "blocks": [asdict(one) for one in store.blocks(campaign.id)],
        "trials": [asdict(one) for one in store.trials(campaign.id)],
        "guest_totals": [asdict(one) for one in store.guest_totals(campaign.id)],
        "fingerprints": [asdict(one) | {"facts": dict(one.facts)} for one in store.fingerprints(campaign.id)],
        "notes": [asdict(one) for one in store.notes(campaign.id)],
    }
    return (json.dumps(document, default=_plain, indent=1) + "\n").encode()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return "" if value is None else value
