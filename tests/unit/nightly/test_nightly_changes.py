"""What is found in histories of known changes, and what is said about it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from nightly_histories import BEGIN, NIGHTLY, Night, add, fill

from harness.errors import InputError
from harness.nightly.changes import acknowledge, find_changes, pick, remember
from harness.nightly.detect import shifts
from harness.nightly.model import Change, State
from harness.nightly.watch import samples
from harness.results.model import ChangeKind, Direction, Fidelity, NightRecord, NightStatus
from harness.results.store import Store
from harness.telemetry.nightlies import Nightlies


def noisy(chance: random.Random, levels: Sequence[float]) -> list[float]:
    """Normal noise of 1 % around each level."""
    return [chance.gauss(level, level / 100) for level in levels]


def figures(chance: random.Random, kvm: Sequence[float], nohype: Sequence[float]) -> list[Night]:
    pairs = zip(noisy(chance, kvm), noisy(chance, nohype), strict=True)
    return [Night({"kvm": one, "nohype": two}) for one, two in pairs]


def open_ones(changes: Sequence[Change]) -> list[Change]:
    return [change for change in changes if change.state is State.OPEN]


def test_steps_of_three_percent_are_found_where_they_are_and_noise_is_not() -> None:
    """The bounded form of benchmarks/nightly_detection.py: 1 % noise, 60 nights, 100 histories of each kind."""
    chance = random.Random(1)
    found = alarms = 0
    for _ in range(100):
        at = chance.randint(10, 50)
        step = chance.choice([0.97, 1.03])
        changes = shifts(noisy(chance, [100.0] * at + [100.0 * step] * (60 - at)))
        found += any(abs(shift.index - at) <= 2 for shift in changes)
        alarms += bool(shifts(noisy(chance, [100.0] * 60)))
    assert found >= 90
    assert alarms <= 2


@pytest.mark.parametrize("values", [[], [1.0], [5.0, 5.0, 5.0], [7.0] * 40, [0.0] * 40])
def test_short_and_constant_series_have_no_change(values: list[float]) -> None:
    assert shifts(values) == ()


def test_exact_figures_change_exactly_and_one_night_is_no_change_yet() -> None:
    assert shifts([10.0] * 10 + [12.0]) == ()
    (shift,) = shifts([10.0] * 10 + [12.0] * 2)
    assert (shift.index, shift.before, shift.after) == (10, 10.0, 12.0)
    (shift,) = shifts([0.0] * 10 + [3.0] * 5)
    assert (shift.index, shift.before, shift.after) == (10, 0.0, 3.0)


def test_a_change_is_told_with_its_night_its_size_and_only_where_it_is(store: Store) -> None:
    ids = fill(store, figures(random.Random(2), [100.0] * 30, [100.0] * 18 + [90.0] * 12))
    (change,) = find_changes(store, "nightly")
    assert (change.series.stack, change.series.host, change.series.metric) == ("nohype", "rack1", "figure")
    assert (change.campaign_id, change.last_before, change.nights_after) == (ids[18], ids[17], 12)
    assert change.kind is ChangeKind.WORSE
    assert change.regression
    assert change.new
    assert change.ratio == pytest.approx(0.9, rel=0.02)


@pytest.mark.parametrize(
    ("direction", "kind"),
    [
        (Direction.HIGHER, ChangeKind.BETTER),
        (Direction.LOWER, ChangeKind.WORSE),
        (Direction.NEITHER, ChangeKind.DIFFERENT),
    ],
)
def test_the_metrics_direction_decides_what_is_worse(store: Store, direction: Direction, kind: ChangeKind) -> None:
    fill(store, [Night({"kvm": 10.0 if n < 8 else 12.0}, direction=direction) for n in range(16)])
    (change,) = find_changes(store, "nightly")
    assert change.kind is kind
    assert change.regression == (kind is ChangeKind.WORSE)


def test_exit_rates_are_histories_too(store: Store) -> None:
    fill(store, [Night({"kvm": 1.0}, exits=1000 if n < 6 else 1100) for n in range(10)])
    (change,) = find_changes(store, "nightly")
    assert (change.series.metric, change.before, change.after) == ("exits_per_second", 100.0, 110.0)
    assert change.kind is ChangeKind.WORSE


def test_fidelities_are_kept_apart(store: Store) -> None:
    """Half of the nights on silicon and ten times as fast: a change for whoever throws them together."""
    fill(
        store,
        [Night({"kvm": 10.0}) if n < 10 else Night({"kvm": 100.0}, fidelity=Fidelity.SILICON) for n in range(20)],
    )
    assert find_changes(store, "nightly") == ()


def test_failed_trials_and_unfinished_campaigns_are_no_figures(store: Store) -> None:
    fill(store, [Night({"kvm": 10.0 if n % 5 else 999.0}, failed=() if n % 5 else ("kvm",)) for n in range(20)])
    for number in (20, 21, 22):
        store.set_campaign_status(add(store, number, Night({"kvm": 20.0})), "cancelled", BEGIN)
    assert find_changes(store, "nightly") == ()


def test_suspects_are_what_differs_on_either_side_the_nearest_first(store: Store) -> None:
    def night(n: int) -> Night:
        facts = {
            "kernel.release": "6.12.1" if n < 10 else "6.12.2",
            "qemu.version": "10.0" if n < 11 else "10.1",
            "bios.version": "A" if n < 4 else "B",
        }
        text = "name: nightly\n" if n < 9 else "name: nightly\nboots: 2\n"
        return Night({"kvm": 10.0 if n < 10 else 8.0}, facts, "aaa" if n < 10 else "bbb", text)

    ids = fill(store, [night(n) for n in range(20)])
    (change,) = find_changes(store, "nightly")
    assert [
        (one.fact, one.before, one.after, one.nights) for one in change.suspects if one.fact != "campaign file"
    ] == [
        ("revision", "aaa", "bbb", 0),
        ("kernel.release", "6.12.1", "6.12.2", 0),
        ("qemu.version", "10.0", "10.1", 1),
    ]
    assert [(one.nights, one.campaign_id) for one in change.suspects if one.fact == "campaign file"] == [(-1, ids[9])]


@pytest.mark.parametrize(("moved", "same"), [(-3, False), (-2, True), (1, True), (2, True), (3, False)])
def test_a_change_keeps_its_id_where_more_nights_move_it_a_little(store: Store, moved: int, same: bool) -> None:
    ids = fill(store, [Night({"kvm": 10.0 if n < 8 else 8.0}) for n in range(16)])
    remember(store, find_changes(store, "nightly"))
    (known,) = store.changes("nightly")
    store.set_change(replace(known, campaign_id=ids[8 + moved]))
    (change,) = find_changes(store, "nightly")
    assert change.new is not same


def test_an_acknowledged_change_is_reported_no_more_and_another_one_is(store: Store) -> None:
    chance = random.Random(3)
    fill(store, figures(chance, [100.0] * 20, [100.0] * 10 + [90.0] * 10))
    (change,) = find_changes(store, "nightly")
    acknowledge(store, pick([change], change.id[:4]), "accepted")
    (known,) = find_changes(store, "nightly")
    assert (known.state, known.note, known.regression) == (State.ACKNOWLEDGED, "accepted", False)
    for number, night in enumerate(figures(chance, [100.0] * 10, [80.0] * 10), start=20):
        add(store, number, night)
    (other,) = open_ones(find_changes(store, "nightly"))
    assert other.id != change.id
    assert other.regression


def test_what_has_recovered_makes_no_night_regressed(store: Store) -> None:
    fill(store, [Night({"kvm": 8.0 if 20 <= n < 32 else 10.0}) for n in range(36)])
    changes = {change.kind: change for change in find_changes(store, "nightly")}
    assert changes[ChangeKind.WORSE].state is State.RECOVERED
    assert not changes[ChangeKind.WORSE].regression
    assert changes[ChangeKind.BETTER].state is State.OPEN


def test_a_change_that_is_none_is_told_with_the_nearest(store: Store) -> None:
    fill(store, [Night({"kvm": 10.0 if n < 8 else 8.0}) for n in range(16)])
    changes = find_changes(store, "nightly")
    with pytest.raises(InputError, match="no change 'zzz'"):
        pick(changes, "zzz")


def test_only_the_last_nights_are_looked_at(store: Store) -> None:
    fill(store, [Night({"kvm": 10.0 if n < 8 else 8.0}) for n in range(30)])
    assert len(find_changes(store, "nightly")) == 1
    assert find_changes(store, "nightly", nights=20) == ()


def test_monitoring_gets_last_success_missed_nights_and_regressions(store: Store) -> None:
    fill(store, [Night({"kvm": 10.0 if n < 8 else 8.0}) for n in range(16)])
    last = store.nights("nightly")[-1]
    store.set_night(replace(last, status=NightStatus.REGRESSED))
    due_at = last.due_at + timedelta(days=1)
    store.set_night(NightRecord("nightly", f"{due_at:%Y-%m-%d}", due_at, NightStatus.MISSED, "", "", None, None, ""))
    found = {(one.metric, one.labels): one.value for one in samples(store, last.due_at + timedelta(days=3))}
    assert last.ended_at
    label = ("nightly", "nightly")
    assert found == {
        ("nohype_nightly_last_success_timestamp_seconds", (label,)): last.ended_at.timestamp(),
        ("nohype_nightly_missed", (label,)): 2,  # recorded, and without a trace; the third may still begin
        (
            "nohype_nightly_regressions",
            (label, ("stack", "kvm"), ("host", "rack1"), ("metric", "cpu/figure")),
        ): 1,
    }
    families = Nightlies()(store)
    served = {(row.name, *row.labels.values()) for family in families for row in family.samples}
    assert served == {(metric, *(value for _name, value in labels)) for metric, labels in found}
    store.set_nightly(replace(NIGHTLY, removed_at=BEGIN))
    assert samples(store, due_at) == ()
    assert list(Nightlies()(store)) == []
