"""Records from rows, and rows from records."""

from __future__ import annotations

from dataclasses import asdict

from harness.results.model import (
    BlockRecord,
    CampaignRecord,
    Direction,
    ExitCount,
    Fidelity,
    GuestTotals,
    MetricValue,
    Status,
    TrialRecord,
)
from harness.results.tables import BlockRow, CampaignRow, ExitRow, GuestRow, MetricRow, TrialRow


def campaign(row: CampaignRow) -> CampaignRecord:
    return CampaignRecord(
        id=row.id,
        name=row.name,
        spec_text=row.spec_text,
        seed=row.seed,
        fidelity=Fidelity(row.fidelity),
        revision=row.revision,
        harness_version=row.harness_version,
        started_at=row.started_at,
        ended_at=row.ended_at,
        status=row.status,
        trials_planned=row.trials_planned,
    )


def block(row: BlockRow) -> BlockRecord:
    return BlockRecord(
        id=row.id,
        campaign_id=row.campaign_id,
        number=row.number,
        host=row.host,
        stack=row.stack,
        boot_id=row.boot_id,
        fingerprint=row.fingerprint or "",
        ready_seconds=row.ready_seconds,
    )


def trial_row(record: TrialRecord) -> TrialRow:
    fields = asdict(record)
    fields |= {"status": record.status.value, "fidelity": record.fidelity.value}
    fields["fingerprint"] = record.fingerprint or None
    fields["metrics"] = [
        MetricRow(position=place, name=one.name, value=one.value, unit=one.unit, direction=one.direction.value)
        for place, one in enumerate(record.metrics)
    ]
    fields["exits"] = [ExitRow(vcpu=one.vcpu, reason=one.reason, count=one.count) for one in record.exits]
    return TrialRow(**fields)


def trial(row: TrialRow) -> TrialRecord:
    return TrialRecord(
        id=row.id,
        campaign_id=row.campaign_id,
        block_id=row.block_id,
        host=row.host,
        stack=row.stack,
        workload=row.workload,
        repeat=row.repeat,
        order=row.order,
        status=Status(row.status),
        failure=row.failure,
        guest=row.guest,
        boot_id=row.boot_id,
        fingerprint=row.fingerprint or "",
        fidelity=Fidelity(row.fidelity),
        started_at=row.started_at,
        ended_at=row.ended_at,
        seconds=row.seconds,
        overhead_seconds=row.overhead_seconds,
        metrics=tuple(MetricValue(one.name, one.value, one.unit, Direction(one.direction)) for one in row.metrics),
        exits=tuple(ExitCount(one.vcpu, one.reason, one.count) for one in row.exits),
        exits_dropped=row.exits_dropped,
        artifacts=row.artifacts,
    )


def totals(row: GuestRow) -> GuestTotals:
    exits = tuple(ExitCount(int(vcpu), str(reason), int(count)) for vcpu, reason, count in row.exits)
    return GuestTotals(row.campaign_id, row.host, row.stack, row.guest, exits, row.ended_at)
