"""What a campaign leaves behind: plain frozen records, the only form in which results cross room borders."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Fidelity(StrEnum):
    """What a figure was measured on. Comparisons across fidelities are refused."""

    SILICON = "silicon"
    EMULATED = "emulated"
    EMULATED_ICOUNT = "emulated-icount"


class Status(StrEnum):
    OK = "ok"
    FAILED = "failed"


class Direction(StrEnum):
    """Which way a metric is better; `NEITHER` for figures that describe and do not judge."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True)
class MetricValue:
    """One figure of one trial."""

    name: str
    value: float
    unit: str
    direction: Direction


@dataclass(frozen=True)
class ExitCount:
    """VM exits of one vCPU for one reason (the vendor manual's name, lower case, e.g. `hlt`, `ioio`, `npf`)."""

    vcpu: int
    reason: str
    count: int


@dataclass(frozen=True)
class Fingerprint:
    """What a host was when a block ran on it: flat, ordered text facts (`cpu.model`, `kernel.release`, ...).

    `digest` is the SHA-256 of the facts in canonical JSON; the store keeps each digest once.
    """

    host: str
    digest: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CampaignRecord:
    id: str
    name: str
    spec_text: str  # the campaign file as it was, to the letter
    seed: int
    fidelity: Fidelity
    revision: str  # git revision of the harness, `-dirty` appended where the tree was
    harness_version: str
    started_at: datetime
    ended_at: datetime | None
    status: str  # running | done | cancelled | interrupted
    trials_planned: int


@dataclass(frozen=True)
class BlockRecord:
    """One boot of one host into one stack."""

    id: str
    campaign_id: str
    number: int
    host: str
    stack: str
    boot_id: str  # of /proc/sys/kernel/random/boot_id; tells boots apart
    fingerprint: str  # digest
    ready_seconds: float  # wall time from asking for the reboot to SSH answering again


@dataclass(frozen=True)
class TrialRecord:
    """One run of one workload in one guest. Times are the controller's; `seconds` are of its monotonic clock."""

    id: str
    campaign_id: str
    block_id: str
    host: str
    stack: str
    workload: str
    repeat: int
    order: int  # position inside the block
    status: Status
    failure: str  # empty when ok
    guest: str
    boot_id: str
    fingerprint: str
    fidelity: Fidelity
    started_at: datetime
    ended_at: datetime
    seconds: float  # of the measured phase; exits/s is over this
    overhead_seconds: float  # harness time spent on this trial outside the measured phase
    metrics: tuple[MetricValue, ...]
    exits: tuple[ExitCount, ...]  # of the measured phase alone
    exits_dropped: int  # hist entries the kernel could not keep; >0 makes the trial failed
    artifacts: str  # folder, relative to the campaign's artifact folder


@dataclass(frozen=True)
class Tally:
    """How many trials of a campaign are stored, and how many of them failed."""

    trials: int = 0
    failed: int = 0


@dataclass(frozen=True)
class GuestTotals:
    """The final counters of a guest that has ended: what Prometheus must hold as well."""

    campaign_id: str
    host: str
    stack: str
    guest: str
    exits: tuple[ExitCount, ...]
    ended_at: datetime


class NoteKind(StrEnum):
    """What a note is about."""

    BLOCK_FAILED = "block-failed"  # subject: the block; its trials could not run
    POWER_CYCLED = "power-cycled"  # subject: the host
    QUARANTINED = "quarantined"  # subject: the host
    PROMETHEUS = "prometheus"  # subject: host/guest; the text is empty where Prometheus agreed
    WARNING = "warning"
    CANCEL = "cancel"  # somebody wants the campaign to end


@dataclass(frozen=True)
class Note:
    """Something that happened in a campaign besides its trials; once for each kind and subject."""

    campaign_id: str
    kind: NoteKind
    subject: str
    text: str
    at: datetime


@dataclass(frozen=True)
class NightlyRecord:
    """A campaign that is run every night, as it was installed."""

    name: str
    node: str  # the control node that runs it
    spec_text: str  # the nightly file as it was, to the letter
    campaign_file: str  # absolute path; read anew every night
    campaign: str  # its name
    inventory: str  # absolute path
    installed_at: datetime
    removed_at: datetime | None


class NightStatus(StrEnum):
    RUNNING = "running"  # or interrupted, where no process is at it
    OK = "ok"
    REGRESSED = "regressed"  # measured, and something is worse than it was
    FAILED = "failed"  # it, or some of its trials
    MISSED = "missed"


@dataclass(frozen=True)
class NightRecord:
    """One night of a nightly. Like a campaign's status, everything but its key and `due_at` changes until it ends."""

    nightly: str
    night: str  # the date it was due; with the time of day where somebody ran it by hand
    due_at: datetime
    status: NightStatus
    reason: str  # why it failed or was missed
    campaign_id: str  # empty until it has begun
    started_at: datetime | None
    ended_at: datetime | None
    digest: str  # what became of it, e.g. "sent by mail"


class ChangeKind(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    DIFFERENT = "different"  # of a metric that describes and does not judge


@dataclass(frozen=True)
class ChangeRecord:
    """A change of a metric that was reported, so that it keeps its id and is reported as new but once."""

    id: str
    campaign: str  # name
    host: str
    stack: str
    workload: str
    metric: str
    unit: str
    fidelity: Fidelity
    kind: ChangeKind
    campaign_id: str  # the first campaign after the change, as it was seen when it was found
    found_at: datetime
    acknowledged_at: datetime | None
    note: str
