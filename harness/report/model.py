"""What a report is written from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.analysis.model import Comparison
from harness.results.model import BlockRecord, CampaignRecord, Fingerprint, Note, TrialRecord


@dataclass(frozen=True)
class PrometheusAgreement:
    """Whether Prometheus holds what the store holds. `guests` counts the guests that were compared."""

    guests: int
    disagreements: tuple[str, ...]


@dataclass(frozen=True)
class ReportInput:
    """Everything that goes into a report. `artifacts` is the campaign's artifact folder; links lead there."""

    campaign: CampaignRecord
    comparison: Comparison
    trials: tuple[TrialRecord, ...]
    blocks: tuple[BlockRecord, ...]
    fingerprints: tuple[Fingerprint, ...]
    notes: tuple[Note, ...]
    prometheus: PrometheusAgreement | None  # None: not asked
    artifacts: Path
    against_xen: Comparison | None = None  # the same with Xen as baseline, where the campaign has it
