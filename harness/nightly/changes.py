"""What has changed from night to night, since when, and what else changed then."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace
from datetime import UTC, datetime

from harness.config import nearest
from harness.errors import InputError
from harness.nightly.detect import Shift, shifts
from harness.nightly.history import NIGHTS, campaigns_of, histories
from harness.nightly.model import Change, History, Series, State, Suspect
from harness.results.model import CampaignRecord, ChangeKind, ChangeRecord, Direction
from harness.results.store import Store

# As nights are added, the night at which a change is seen may move by one or two; it is the same change.
SAME_CHANGE_NIGHTS = 2
# For the same reason suspects are looked for so many nights to either side.
SUSPECT_NIGHTS = 2


def find_changes(store: Store, campaign: str, nights: int = NIGHTS) -> tuple[Change, ...]:
    """The changes in the last `nights` campaigns of that name: regressions first, then the latest first."""
    campaigns = campaigns_of(store, campaign, nights)
    known = store.changes(campaign)
    facts = _Facts(store, campaigns)
    found: list[Change] = []
    for history in histories(store, campaigns):
        found += _of(history, known, facts)
    found.sort(key=lambda change: change.at, reverse=True)
    return tuple(sorted(found, key=lambda change: not change.regression))


def remember(store: Store, changes: Iterable[Change]) -> None:
    """Keep the changes that were not reported before, so that their ids stay. Raises StorageError."""
    for change in changes:
        if change.new:
            store.set_change(_record(change))


def acknowledge(store: Store, change: Change, note: str) -> ChangeRecord:
    """Report the change no more. Raises StorageError."""
    known = {record.id: record for record in store.changes(change.series.campaign)}
    record = replace(known.get(change.id, _record(change)), acknowledged_at=datetime.now(UTC), note=note)
    store.set_change(record)
    return record


def _record(change: Change) -> ChangeRecord:
    one = change.series
    return ChangeRecord(
        id=change.id,
        campaign=one.campaign,
        host=one.host,
        stack=one.stack,
        workload=one.workload,
        metric=one.metric,
        unit=one.unit,
        fidelity=one.fidelity,
        kind=change.kind,
        campaign_id=change.campaign_id,
        found_at=datetime.now(UTC),
        acknowledged_at=None,
        note="",
    )


def pick(changes: Iterable[Change], wanted: str) -> Change:
    """The change whose id is or begins with `wanted`. Raises InputError where that is none or several."""
    every = {change.id: change for change in changes}
    found = [change for name, change in every.items() if name.startswith(wanted)]
    if wanted in every:
        return every[wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{wanted!r} may be any of {', '.join(change.id for change in found)}", where="CHANGE")
    raise InputError(f"no change {wanted!r}{nearest(wanted, every)}", where="CHANGE", fix="see: nohype nightly trend")


def _of(history: History, known: Sequence[ChangeRecord], facts: _Facts) -> Iterable[Change]:
    values = [point.value for point in history.points]
    found = shifts(values)
    own = [record for record in known if _series(record) == history.series]
    for shift in found:
        kind = _kind(shift, history.direction)
        first = history.points[shift.index]
        record = _same(own, kind, shift.index, history)
        state = State.OPEN
        if record and record.acknowledged_at:
            state = State.ACKNOWLEDGED
        elif _recovered(shift, found[-1].after):
            state = State.RECOVERED
        yield Change(
            id=record.id if record else _id(history.series, first.campaign_id),
            series=history.series,
            kind=kind,
            state=state,
            before=shift.before,
            after=shift.after,
            p_value=shift.p_value,
            last_before=history.points[shift.index - 1].campaign_id,
            campaign_id=first.campaign_id,
            at=first.at,
            nights_after=len(values) - shift.index,
            new=record is None,
            note=record.note if record else "",
            suspects=facts.suspects(history, shift.index),
        )


def _kind(shift: Shift, direction: Direction) -> ChangeKind:
    if direction is Direction.NEITHER:
        return ChangeKind.DIFFERENT
    return ChangeKind.BETTER if (shift.after > shift.before) == (direction is Direction.HIGHER) else ChangeKind.WORSE


def _recovered(shift: Shift, now: float) -> bool:
    middle = (shift.before + shift.after) / 2
    return now < middle if shift.after > shift.before else now > middle


def _same(own: Iterable[ChangeRecord], kind: ChangeKind, index: int, history: History) -> ChangeRecord | None:
    """The record of this change, where it was reported before."""
    places = {point.campaign_id: place for place, point in enumerate(history.points)}
    near = [
        (abs(places[record.campaign_id] - index), record.id, record)
        for record in own
        if record.kind is kind and record.campaign_id in places
    ]
    distance, _, record = min(near, default=(SAME_CHANGE_NIGHTS + 1, "", None))
    return record if distance <= SAME_CHANGE_NIGHTS else None


def _series(record: ChangeRecord) -> Series:
    return Series(
        record.campaign, record.host, record.stack, record.workload, record.metric, record.unit, record.fidelity
    )


def _id(series: Series, campaign_id: str) -> str:
    text = "\n".join([*map(str, astuple(series)), campaign_id])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class _Facts:
    """What each campaign ran on, asked of the store when first needed."""

    def __init__(self, store: Store, campaigns: Iterable[CampaignRecord]) -> None:
        self._store = store
        self._campaigns = {record.id: record for record in campaigns}
        self._known: dict[tuple[str, str, str], dict[str, str]] = {}

    def suspects(self, history: History, index: int) -> tuple[Suspect, ...]:
        """What became different within a few nights of the change, the nearest first."""
        series, points = history.series, history.points
        found: list[Suspect] = []
        first = max(1, index - SUSPECT_NIGHTS)
        for place in range(first, min(len(points), index + SUSPECT_NIGHTS + 1)):
            old, new = (self._of(points[at].campaign_id, series.host, series.stack) for at in (place - 1, place))
            found += [
                Suspect(
                    name, old.get(name, "(absent)"), new.get(name, "(absent)"), points[place].campaign_id, place - index
                )
                for name in sorted(old.keys() | new.keys(), key=lambda name: ("." in name, name))
                if old.get(name) != new.get(name)
            ]
        return tuple(sorted(found, key=lambda one: abs(one.nights)))

    def _of(self, campaign_id: str, host: str, stack: str) -> dict[str, str]:
        key = (campaign_id, host, stack)
        if key not in self._known:
            record = self._campaigns[campaign_id]
            seen: dict[str, set[str]] = defaultdict(set)
            digests = {
                block.fingerprint
                for block in self._store.blocks(campaign_id)
                if (block.host, block.stack) == (host, stack)
            }
            for fingerprint in self._store.fingerprints(campaign_id):
                if fingerprint.digest in digests:
                    for name, value in fingerprint.facts:
                        seen[name].add(value)
            facts = {name: " | ".join(sorted(values)) for name, values in seen.items()}
            digest = hashlib.sha256(record.spec_text.encode()).hexdigest()[:12]
            self._known[key] = facts | {
                "revision": record.revision,
                "harness version": record.harness_version,
                "campaign file": f"sha256 {digest}",
            }
        return self._known[key]
