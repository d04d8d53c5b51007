"""When nights are due.

A night is named by its date in the nightly's own time zone, so that the hour which happens twice when summer time ends
makes one night. One that does not happen when summer time begins is due at its end (croniter; DBOS uses it too).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter

from harness.errors import InputError
from harness.nightly.spec import DAYS, NightlySpec
from harness.results.model import NightRecord


@dataclass(frozen=True)
class Due:
    night: str  # its date
    at: datetime  # UTC


def cron(spec: NightlySpec) -> str:
    """The schedule as DBOS and croniter read it, to be read in the nightly's zone."""
    hour, minute = spec.at.split(":")
    days = "*" if set(spec.days) == set(DAYS) else ",".join(spec.days)
    return f"{int(minute)} {int(hour)} * * {days}"


def due(spec: NightlySpec, after: datetime, until: datetime) -> tuple[Due, ...]:
    """The nights due after `after` and not after `until`, the earliest first."""
    found: dict[str, Due] = {}
    moments = croniter(cron(spec), after.astimezone(ZoneInfo(spec.zone)), second_at_beginning=True)
    while (moment := moments.get_next(datetime)) <= until:
        found.setdefault(night_of(spec, moment), Due(night_of(spec, moment), moment.astimezone(UTC)))
    return tuple(found.values())


def next_due(spec: NightlySpec, after: datetime) -> Due:
    """The first night due after `after`."""
    moments = croniter(cron(spec), after.astimezone(ZoneInfo(spec.zone)), second_at_beginning=True)
    moment = moments.get_next(datetime)
    return Due(night_of(spec, moment), moment.astimezone(UTC))


def night_of(spec: NightlySpec, moment: datetime) -> str:
    """The name of the night that is due then."""
    return moment.astimezone(ZoneInfo(spec.zone)).date().isoformat()


def too_late(spec: NightlySpec, due_at: datetime, now: datetime) -> bool:
    """Whether a night that was due then may not begin (or go on after an interruption) any more."""
    return now > due_at + timedelta(hours=spec.late_hours)


def unrecorded(
    spec: NightlySpec, installed_at: datetime, nights: Iterable[NightRecord], now: datetime
) -> tuple[Due, ...]:
    """Nights that were due since the installation and left no trace, the earliest first."""
    known = {night.night for night in nights}
    return tuple(each for each in due(spec, installed_at, now) if each.night not in known)


def due_of(spec: NightlySpec, night: str, now: datetime) -> Due:
    """The night of that name. Raises InputError where none is due on that day, or it is not due yet."""
    try:
        midnight = datetime.fromisoformat(night).replace(tzinfo=ZoneInfo(spec.zone))
    except ValueError:
        raise InputError(f"{night!r} is no date", where="--night", fix="write it as YYYY-MM-DD") from None
    found = due(spec, midnight - timedelta(seconds=1), midnight + timedelta(days=1, hours=2))
    for each in found:
        if each.night == night:
            if each.at > now:
                raise InputError(
                    f"the night of {night} is not due before {each.at:%Y-%m-%d %H:%M} UTC", where="--night"
                )
            return each
    raise InputError(f"no night is due on {night}", where="--night", fix=f"nights are due on {', '.join(spec.days)}")
