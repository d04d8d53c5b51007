"""`nohype compare`: the stacks of a campaign side by side."""

from __future__ import annotations

from rich.text import Text

from harness.cli.campaign_data import BaselineOption, CampaignArgument, comparison_of, find
from harness.cli.common import JsonOption, out, print_json


def compare(campaign: CampaignArgument = None, baseline: BaselineOption = "kvm", as_json: JsonOption = False) -> None:
    """Compare the stacks of a campaign: each metric with ratio and 95 % interval, and VM exits by reason.

    Better and worse mean that the interval leaves out 1. What stands behind a figure is the number of boots, not of
    trials; with a single boot there is no verdict. A campaign that is still running is compared as far as it is.

    Examples:

      nohype compare

      nohype compare quickstart --baseline kvm-tuned --json
    """
    from harness.cli.tables import comparison_view
    from harness.results.store import Store

    with Store() as store:
        found = find(store, campaign)
        comparison = comparison_of(store, found, baseline)
    if as_json:
        print_json(comparison)
        return
    out.print(Text.assemble((found.id, "bold"), (f" {found.started_at:%Y-%m-%d %H:%M %Z}, {found.status}", "dim")))
    out.print(comparison_view(comparison))
