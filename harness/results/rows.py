"""Records from rows, and rows from records."""

from __future__ import annotations

from dataclasses import asdict

from harness.results.model import (
    BlockRecord,
    CampaignRecord,
    ChangeKind,
    ChangeRecord,
    Direction,
    ExitCount,
    Fidelity,
    GuestTotals,
    MetricValue,
    NightlyRecord,
    NightRecord,
    NightStatus,
    Status,
    TrialRecord,
)
from harness.results.tables import (
    BlockRow,
    CampaignRow,
    ChangeRow,
    ExitRow,
    GuestRow,
    MetricRow,
    NightlyRow,
    NightRow,
    TrialRow,
)


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


def nightly(row: NightlyRow) -> NightlyRecord:
    return NightlyRecord(
        name=row.name,
        node=row.node,
        spec_text=row.spec_text,
        campaign_file=row.campaign_file,
        campaign=row.campaign,
        inventory=row.inventory,
        installed_at=row.installed_at,
        removed_at=row.removed_at,
    )


def night_row(record: NightRecord) -> NightRow:
    fields = asdict(record)
    return NightRow(**{**fields, "status": record.status.value, "campaign_id": record.campaign_id or None})


def night(row: NightRow) -> NightRecord:
    return NightRecord(
        nightly=row.nightly,
        night=row.night,
        due_at=row.due_at,
        status=NightStatus(row.status),
        reason=row.reason,
        campaign_id=row.campaign_id or "",
        started_at=row.started_at,
        ended_at=row.ended_at,
        digest=row.digest,
    )


def change_row(record: ChangeRecord) -> ChangeRow:
    return ChangeRow(**{**asdict(record), "fidelity": record.fidelity.value, "kind": record.kind.value})


def change(row: ChangeRow) -> ChangeRecord:
    return ChangeRecord(
        id=row.id,
        campaign=row.campaign,
        host=row.host,
        stack=row.stack,
        workload=row.workload,
        metric=row.metric,
        unit=row.unit,
        fidelity=Fidelity(row.fidelity),
        kind=ChangeKind(row.kind),
        campaign_id=row.campaign_id,
        found_at=row.found_at,
        acknowledged_at=row.acknowledged_at,
        note=row.note,
    )
