"""Run nights with progress on the terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.markup import escape

from harness.campaign.register import Outcome, register
from harness.cli.campaign_run import abandon, check_hosts, execute, read_campaign
from harness.cli.common import err, out
from harness.cli.nightly_tables import COLOURS
from harness.errors import HarnessError, InputError
from harness.guests import image
from harness.kernel.image import for_stacks
from harness.nightly.night import Campaigns, keep_artifacts, report_night, run_night
from harness.nightly.presence import in_process
from harness.nightly.schedule import Due, due_of
from harness.nightly.spec import NightlySpec, installed_spec
from harness.results.model import NightlyRecord, NightRecord, NightStatus
from harness.results.store import Store


class CommandLineCampaigns:
    """See harness.nightly.night.Campaigns: as `nohype campaign run` does."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, nightly: NightlyRecord) -> str:
        """See Campaigns."""
        campaign = read_campaign(Path(nightly.campaign_file), Path(nightly.inventory))
        if campaign.spec.name != nightly.campaign:
            raise InputError(
                f"the campaign is called {campaign.spec.name!r} now, and was {nightly.campaign!r}",
                where=nightly.campaign_file,
                fix="its history goes by that name: change it back, or install the nightly again",
            )
        image.current()
        for_stacks(campaign.spec.stacks, campaign.hosts)
        check_hosts(campaign)
        return register(self._store, campaign, Path(nightly.inventory)).id

    def run(self, campaign_id: str) -> Outcome:
        """See Campaigns."""
        return execute(self._store, self._store.campaign(campaign_id))

    def abandon(self, campaign_id: str) -> None:
        """See Campaigns."""
        abandon(self._store, campaign_id)


def run_one(
    store: Store, nightly: NightlyRecord, campaigns: Campaigns, night: str | None, *, force: bool
) -> NightRecord:
    """Run the night to its end and tell of it. Raises InputError for a night that is none, StorageError."""
    spec = installed_spec(nightly)
    due = _due(store, nightly, spec, night)
    found = run_night(store, nightly, spec, due, campaigns, _say, force=force)
    if found.status is NightStatus.RUNNING:
        return found
    told = report_night(store, nightly, spec, found)
    if spec.keep_artifacts is not None:
        try:
            for folder in keep_artifacts(store, nightly, spec.keep_artifacts):
                _say(f"removed old artifacts: {folder}")
        except HarnessError as error:  # that is not the night's fault
            _say(f"old artifacts were not removed: {error}")
    return told


def tell(night: NightRecord) -> None:
    """Say how the night was."""
    colour = COLOURS.get(night.status, "red")
    interrupted = night.status is NightStatus.RUNNING
    status = "interrupted" if interrupted else str(night.status)
    reason = f": {escape(night.reason)}" if night.reason else ""
    out.print(
        f"[bold]{night.nightly}[/bold], night {night.night}: [{colour}]{status}[/{colour}]{reason}", soft_wrap=True
    )
    if night.digest:
        out.print(f"digest: {escape(night.digest)}", soft_wrap=True)
    if interrupted:
        out.print(f'next: nohype nightly run {night.nightly} --night "{night.night}"', soft_wrap=True)
    else:
        out.print(f"next: nohype nightly trend {night.nightly}", soft_wrap=True)


def _due(store: Store, nightly: NightlyRecord, spec: NightlySpec, night: str | None) -> Due:
    for one in reversed(store.nights(nightly.name)):
        begun = one.status is NightStatus.RUNNING and one.campaign_id
        if one.night == night or (night is None and begun and not in_process(nightly.name)):
            if night is None:
                _say(f"going on with the night of {one.night}, which was interrupted")
            return Due(one.night, one.due_at)
    now = datetime.now(UTC)
    if night is None:
        return Due(f"{now.astimezone(ZoneInfo(spec.zone)):%Y-%m-%d %H:%M:%S}", now)
    return due_of(spec, night, now)


def _say(text: str) -> None:
    err.print(escape(text), soft_wrap=True)
