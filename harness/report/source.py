"""Everything a report needs, read from the results store."""

from __future__ import annotations

from harness.analysis.compare import compare
from harness.analysis.model import Comparison
from harness.analysis.paper import XEN
from harness.campaign import folder as folders
from harness.campaign.spec import usual_baseline
from harness.errors import UnavailableError
from harness.report.model import PrometheusAgreement, ReportInput
from harness.results.artifacts import campaign_folder
from harness.results.model import CampaignRecord
from harness.results.store import Store
from harness.workloads.spec import load_workloads


def comparison_of(store: Store, campaign: CampaignRecord, baseline: str | None = None, allowed: str = "") -> Comparison:
    """`allowed` is what --allow-differences takes. Raises InputError as `compare` does."""
    trials = store.trials(campaign.id)
    return compare(
        trials,
        baseline or usual_baseline(campaign.spec_text, {trial.stack for trial in trials}),
        fingerprints=store.fingerprints(campaign.id),
        seed=campaign.seed,
        allowed=[fact.strip() for fact in allowed.split(",")],
        network=network_workloads(campaign.id),
    )


def network_workloads(campaign_id: str) -> frozenset[str]:
    """The workloads that use the network: as the campaign kept them, or the repository's where it ran elsewhere."""
    try:
        workloads = folders.read(campaign_id).workloads
    except UnavailableError:
        workloads = load_workloads()
    return frozenset(name for name, workload in workloads.items() if workload.needs.network)


def report_input(store: Store, campaign: CampaignRecord, baseline: str | None = None, allowed: str = "") -> ReportInput:
    """Everything the report needs. Raises InputError as `compare` does."""
    comparison = comparison_of(store, campaign, baseline, allowed)
    guests, disagreements = store.prometheus(campaign.id)
    return ReportInput(
        campaign=campaign,
        comparison=comparison,
        trials=store.trials(campaign.id),
        blocks=store.blocks(campaign.id),
        fingerprints=store.fingerprints(campaign.id),
        notes=store.notes(campaign.id),
        prometheus=PrometheusAgreement(guests, disagreements) if guests else None,
        artifacts=campaign_folder(campaign.id),
        against_xen=comparison_of(store, campaign, XEN, allowed) if XEN in comparison.stacks else None,
    )
