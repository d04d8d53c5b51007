"""Which campaign a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.results.model import CampaignRecord
    from harness.results.store import Store

CampaignArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[CAMPAIGN]",
        help="Its id, the beginning of it, or a name (the latest of that name). Default: the latest.",
    ),
]
BaselineOption = Annotated[
    str | None,
    typer.Option(
        metavar="STACK",
        help="The stack every other one is compared with. Default: the campaign file's baseline, else kvm.",
        show_default=False,
    ),
]
AllowOption = Annotated[
    str,
    typer.Option(
        "--allow-differences",
        metavar="FACT,...",
        help="Facts, or patterns such as 'mitigations.*', that may differ between stacks though nothing explains it.",
        show_default=False,
    ),
]


def find(store: Store, wanted: str | None) -> CampaignRecord:
    """The campaign that `wanted` means; None is the latest. Raises InputError with the nearest right id."""
    for campaign in store.campaigns():  # the latest first
        if wanted in (None, campaign.id, campaign.name):
            return campaign
    return store.campaign(wanted or "latest")
