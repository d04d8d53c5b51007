"""Nightly files, and when nights are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.nightly.schedule import cron, due, due_of, next_due, too_late, unrecorded
from harness.nightly.spec import NightlySpec, load_nightly
from harness.paths import repo_root
from harness.results.model import NightRecord, NightStatus


def spec(**keys: object) -> NightlySpec:
    return NightlySpec.model_validate({"name": "n", "campaign": "c.yml", "at": "22:00", **keys})


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "nightly.yml").write_text("name: c\n")
    path = tmp_path / "file.yml"
    path.write_text(text)
    return path


def test_the_example_is_right_and_names_a_campaign_that_is_there() -> None:
    found, campaign = load_nightly(repo_root() / "nightlies" / "nightly.yml")
    assert (found.name, found.at, found.zone, found.late_hours) == ("nightly", "22:00", "UTC", 6)
    assert campaign.samefile(repo_root() / "campaigns" / "nightly.yml")


@pytest.mark.parametrize("written_as", ['"22:30"', "22:30"])
def test_a_time_of_day_needs_no_quotes(tmp_path: Path, written_as: str) -> None:
    path = written(tmp_path, f"name: n\ncampaign: nightly.yml\nat: {written_as}\n")
    assert load_nightly(path)[0].at == "22:30"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("at: 22", r"file.yml:3: at: .*valid string \(found 22\)"),
        ('at: "24:00"', "file.yml:3: at: "),
        ('at: "22:00"\nzone: Europe/Berlim', "file.yml:4: zone: unknown time zone; did you mean 'Europe/Berlin'"),
        ('at: "22:00"\ndays: [mon, thirsday]', r"file.yml:4: days\[1\]: "),
        ('at: "22:00"\nlate_hours: 24', "file.yml:4: late_hours: "),
        ('at: "22:00"\nnotfy: {}', "file.yml:4: notfy: unknown key; did you mean 'notify'"),
        (
            'at: "22:00"\nnotify:\n  mail: {server: s, from: a@b, to: [c@d], user: u, password_env: P, security: none}',
            "notify.mail: a password is not sent without TLS",
        ),
        ('at: "22:00"\nnotify:\n  webhook: {token_env: T}', "notify.webhook: give either url or url_env"),
        ('at: "22:00"\nnotify:\n  webhook: {url: "file:///etc/passwd"}', "notify.webhook.url: "),
    ],
)
def test_wrong_files_are_refused_with_the_place(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_nightly(written(tmp_path, f"name: n\ncampaign: nightly.yml\n{lines}\n"))


def test_a_missing_campaign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"yml:2: campaign: no such file .*nigthly.yml; did you mean 'nightly.yml'"):
        load_nightly(written(tmp_path, 'name: n\ncampaign: nigthly.yml\nat: "22:00"\n'))


def test_days_and_zone_decide_when_nights_are_due() -> None:
    weekly = spec(at="22:30", zone="Europe/Berlin", days=["fri", "sat"])
    assert cron(weekly) == "30 22 * * fri,sat"
    found = due(weekly, datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 14, tzinfo=UTC))
    assert [(each.night, each.at.isoformat()) for each in found] == [
        ("2026-06-05", "2026-06-05T20:30:00+00:00"),
        ("2026-06-06", "2026-06-06T20:30:00+00:00"),
        ("2026-06-12", "2026-06-12T20:30:00+00:00"),
        ("2026-06-13", "2026-06-13T20:30:00+00:00"),
    ]
    assert next_due(weekly, found[0].at) == found[1]


def test_the_hour_that_happens_twice_makes_one_night() -> None:
    autumn = spec(at="02:30", zone="Europe/Berlin")
    found = due(autumn, datetime(2026, 10, 23, 12, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC))
    assert [each.night for each in found] == ["2026-10-24", "2026-10-25", "2026-10-26"]
    assert found[1].at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_the_hour_that_does_not_happen_makes_one_night() -> None:
    spring = spec(at="02:30", zone="Europe/Berlin")
    found = due(spring, datetime(2026, 3, 27, 12, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC))
    assert [each.night for each in found] == ["2026-03-28", "2026-03-29", "2026-03-30"]


def test_a_night_is_found_by_its_date() -> None:
    now = datetime(2026, 6, 5, 12, tzinfo=UTC)
    fridays = spec(zone="America/New_York", days=["thu"])
    assert due_of(fridays, "2026-06-04", now).at == datetime(2026, 6, 5, 2, tzinfo=UTC)
    with pytest.raises(InputError, match="no night is due on 2026-06-03"):
        due_of(fridays, "2026-06-03", now)
    with pytest.raises(InputError, match="is not due before 2026-06-12 02:00 UTC"):
        due_of(fridays, "2026-06-11", now)
    with pytest.raises(InputError, match="'yesterday' is no date"):
        due_of(fridays, "yesterday", now)


def test_nights_without_a_trace_are_those_since_the_installation() -> None:
    installed = datetime(2026, 6, 1, 22, 30, tzinfo=UTC)
    at = datetime(2026, 6, 3, 22, tzinfo=UTC)
    recorded = NightRecord("n", "2026-06-03", at, NightStatus.OK, "", "", None, None, "")
    found = unrecorded(spec(), installed, [recorded], at + timedelta(days=1))
    assert [each.night for each in found] == ["2026-06-02", "2026-06-04"]
    assert too_late(spec(), found[0].at, found[0].at + timedelta(hours=6, seconds=1))
    assert not too_late(spec(), found[0].at, found[0].at + timedelta(hours=6))
