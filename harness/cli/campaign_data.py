"""A finished or running campaign, read from the results store for `compare`, `report` and `results`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.analysis.compare import compare
from harness.report.model import PrometheusAgreement, ReportInput
from harness.results.artifacts import campaign_folder

if TYPE_CHECKING:
    from harness.analysis.model import Comparison
    from harness.results.model import CampaignRecord
    from harness.results.store import Store

CampaignArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[CAMPAIGN]",
        help="Its id, the beginning of it, or a name (the latest of that name). Default: the latest.",
    ),
]
BaselineOption = Annotated[str, typer.Option(metavar="STACK", help="The stack every other one is compared with.")]


def find(store: Store, wanted: str | None) -> CampaignRecord:
    """The campaign that `wanted` means; None is the latest. Raises InputError with the nearest right id."""
    for campaign in store.campaigns():  # the latest first
        if wanted in (None, campaign.id, campaign.name):
            return campaign
    return store.campaign(wanted or "latest")


def comparison_of(store: Store, campaign: CampaignRecord, baseline: str) -> Comparison:
    """Raises InputError as `compare` does."""
    fingerprints = store.fingerprints(campaign.id)
    return compare(store.trials(campaign.id), baseline, fingerprints=fingerprints, seed=campaign.seed)


def report_input(store: Store, campaign: CampaignRecord, baseline: str) -> ReportInput:
    """Everything the report needs. Raises InputError as `compare` does."""
    guests, disagreements = store.prometheus(campaign.id)
    return ReportInput(
        campaign=campaign,
        comparison=comparison_of(store, campaign, baseline),
        trials=store.trials(campaign.id),
        blocks=store.blocks(campaign.id),
        fingerprints=store.fingerprints(campaign.id),
        notes=store.notes(campaign.id),
        prometheus=PrometheusAgreement(guests, disagreements) if guests else None,
        artifacts=campaign_folder(campaign.id),
    )
