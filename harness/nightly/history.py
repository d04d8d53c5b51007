"""The series of a nightly's metrics, from the results store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from harness.analysis.compare import compare
from harness.campaign.register import DONE
from harness.nightly.model import History, Point, Series
from harness.results.model import CampaignRecord, Direction, Status, TrialRecord
from harness.results.store import Store

NIGHTS = 120  # how far back is looked, unless asked otherwise


def campaigns_of(store: Store, name: str, limit: int = NIGHTS) -> tuple[CampaignRecord, ...]:
    """The last `limit` campaigns of that name that came to their end, the earliest first."""
    found = [record for record in store.campaigns() if record.name == name and record.status == DONE]
    return tuple(reversed(found[:limit]))


def histories(store: Store, campaigns: Iterable[CampaignRecord]) -> tuple[History, ...]:
    """A history for each metric of each workload, stack and host, exit rates included."""
    points: dict[Series, list[Point]] = defaultdict(list)
    directions: dict[Series, Direction] = {}
    for campaign in campaigns:
        for series, direction, point in _points(campaign, store.trials(campaign.id)):
            points[series].append(point)
            directions[series] = direction
    order = sorted(points, key=lambda one: (one.fidelity, one.host, one.stack, one.workload, one.metric, one.unit))
    return tuple(History(series, directions[series], tuple(points[series])) for series in order)


def _points(campaign: CampaignRecord, trials: Iterable[TrialRecord]) -> Iterable[tuple[Series, Direction, Point]]:
    groups: dict[tuple[str, str], list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        if trial.status is Status.OK:
            groups[trial.host, trial.stack].append(trial)
    for (host, stack), own in groups.items():
        # Against nothing but itself, this forms the figures alone: as the campaign's own comparison does.
        for row in compare(own, stack).metrics:
            figure = row.figure(stack)
            if figure:
                series = Series(campaign.name, host, stack, row.workload, row.metric, row.unit, campaign.fidelity)
                yield series, row.direction, Point(campaign.id, campaign.started_at, figure.mean, figure.boots)
