"""The tables of the results store. A change here is a new SCHEMA_VERSION and a step in database.py."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, ForeignKey, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

SCHEMA_VERSION = 2


class UtcTime(TypeDecorator[datetime]):
    """Points in time, always UTC; SQLite itself keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    type_annotation_map = {str: Text, int: BigInteger, datetime: UtcTime}  # noqa: RUF012 - SQLAlchemy's own way


class SchemaRow(Base):
    __tablename__ = "schema_version"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class CampaignRow(Base):
    __tablename__ = "campaigns"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    spec_text: Mapped[str]
    seed: Mapped[int]
    fidelity: Mapped[str]
    revision: Mapped[str]
    harness_version: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    status: Mapped[str]
    trials_planned: Mapped[int]


class FingerprintRow(Base):
    __tablename__ = "fingerprints"
    digest: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]  # the first that was found to be so
    facts: Mapped[dict[str, str]] = mapped_column(JSON)


class BlockRow(Base):
    __tablename__ = "blocks"
    id: Mapped[str] = mapped_column(primary_key=True)
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"), index=True)
    number: Mapped[int]
    host: Mapped[str]
    stack: Mapped[str]
    boot_id: Mapped[str]
    fingerprint: Mapped[str | None] = mapped_column(ForeignKey("fingerprints.digest"))
    ready_seconds: Mapped[float]


class TrialRow(Base):
    __tablename__ = "trials"
    id: Mapped[str] = mapped_column(primary_key=True)
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"), index=True)
    block_id: Mapped[str] = mapped_column(ForeignKey("blocks.id"), index=True)
    host: Mapped[str]
    stack: Mapped[str]
    workload: Mapped[str]
    repeat: Mapped[int]
    order: Mapped[int]
    status: Mapped[str]
    failure: Mapped[str]
    guest: Mapped[str]
    boot_id: Mapped[str]
    fingerprint: Mapped[str | None] = mapped_column(ForeignKey("fingerprints.digest"))
    fidelity: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    seconds: Mapped[float]
    overhead_seconds: Mapped[float]
    exits_dropped: Mapped[int]
    artifacts: Mapped[str]
    metrics: Mapped[list[MetricRow]] = relationship(order_by="MetricRow.position", lazy="selectin")
    exits: Mapped[list[ExitRow]] = relationship(order_by="(ExitRow.vcpu, ExitRow.reason)", lazy="selectin")


class MetricRow(Base):
    __tablename__ = "trial_metrics"
    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    value: Mapped[float]
    unit: Mapped[str]
    direction: Mapped[str]


class ExitRow(Base):
    __tablename__ = "trial_exits"
    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id"), primary_key=True)
    vcpu: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    reason: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]


class GuestRow(Base):
    __tablename__ = "guest_totals"
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"), primary_key=True)
    host: Mapped[str] = mapped_column(primary_key=True)
    guest: Mapped[str] = mapped_column(primary_key=True)
    stack: Mapped[str]
    ended_at: Mapped[datetime]
    exits: Mapped[list[list[int | str]]] = mapped_column(JSON)  # [[vcpu, reason, count], ...]


class NoteRow(Base):
    __tablename__ = "notes"
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]
    at: Mapped[datetime]


class NightlyRow(Base):
    __tablename__ = "nightlies"
    name: Mapped[str] = mapped_column(primary_key=True)
    node: Mapped[str]
    spec_text: Mapped[str]
    campaign_file: Mapped[str]
    campaign: Mapped[str]
    inventory: Mapped[str]
    installed_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class NightRow(Base):
    __tablename__ = "nights"
    nightly: Mapped[str] = mapped_column(ForeignKey("nightlies.name"), primary_key=True)
    night: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]
    status: Mapped[str]
    reason: Mapped[str]
    campaign_id: Mapped[str | None] = mapped_column(ForeignKey("campaigns.id"))
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    digest: Mapped[str]


class ChangeRow(Base):
    __tablename__ = "changes"
    id: Mapped[str] = mapped_column(primary_key=True)
    campaign: Mapped[str] = mapped_column(index=True)
    host: Mapped[str]
    stack: Mapped[str]
    workload: Mapped[str]
    metric: Mapped[str]
    unit: Mapped[str]
    fidelity: Mapped[str]
    kind: Mapped[str]
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"))
    found_at: Mapped[datetime]
    acknowledged_at: Mapped[datetime | None]
    note: Mapped[str]
