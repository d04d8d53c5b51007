"""The dashboards as Grafana provisions them."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import campaign, exits, host, nightly, security

FOLDER = Path(__file__).resolve().parent / "json"
_DASHBOARDS = (campaign.dashboard, exits.dashboard, host.dashboard, nightly.dashboard, security.dashboard)


def documents() -> dict[str, str]:
    """File name -> JSON."""
    built = [make().build() for make in _DASHBOARDS]
    return {f"{one.uid}.json": json.dumps(one, cls=JSONEncoder, indent=1, sort_keys=True) + "\n" for one in built}
