"""How far a campaign is, and how long it will take, from its events alone."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from harness.campaign import folder as folders
from harness.campaign import follow
from harness.campaign.events import (
    BlockBegun,
    BlockEnded,
    CampaignBegun,
    Doing,
    Event,
    EventLog,
    Happened,
    TrialBegun,
    TrialEnded,
    Warned,
    parse,
)
from harness.campaign.follow import EventReader, Follower
from harness.campaign.plan import Plan, Use, make_plan
from harness.campaign.standing import HostNow, Standing
from harness.cli.campaign_watch import watch_view
from harness.results.model import BlockRecord, CampaignRecord, Fidelity, Status, TrialRecord
from harness.results.store import Store

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BOOT, TRIAL, END = 60.0, 20.0, 5.0
RECORD = CampaignRecord("c", "c", "", 1, Fidelity.EMULATED, "", "", START, None, "running", 12)


def plan(hosts: int = 1) -> Plan:
    names = [f"host{number}" for number in range(1, hosts + 1)]
    return make_plan("c", 1, hosts=names, stacks=["kvm", "nohype"], boots=1, uses=[Use("cpu", 10, 3, boots=False)])


def ended(trial: str, host: str, status: Status = Status.OK, exits: int | None = 40) -> TrialEnded:
    failure = "iperf3 ended" if status is Status.FAILED else ""
    return TrialEnded(trial, host, "kvm", "cpu", status, failure, 10.0, 2.0, exits)


def history(made: Plan, host: str, start: datetime = START) -> list[Happened]:
    """A host that boots for a minute, runs trials of 20 s each, and ends for 5 s."""
    at, found = start, [Happened(start, CampaignBegun("c", len(made.blocks), made.trials, 0, "/f"))]
    for block in made.blocks:
        if block.host != host:
            continue
        found.append(Happened(at, BlockBegun(block.number, host, block.stack, len(block.trials))))
        at += timedelta(seconds=BOOT)
        for trial in block.trials:
            begun = TrialBegun(trial.id, host, block.stack, trial.workload, trial.repeat, trial.seconds)
            found.append(Happened(at, begun))
            at += timedelta(seconds=TRIAL)
            found.append(Happened(at, replace(ended(trial.id, host), stack=block.stack)))
        at += timedelta(seconds=END)
        found.append(Happened(at, BlockEnded(block.number, host, block.stack)))
    return found


def standing(made: Plan, events: list[Happened]) -> Standing:
    found = Standing(made)
    for happened in events:
        found.take(happened)
    return found


def test_the_estimate_is_what_the_rest_will_take_at_the_pace_so_far() -> None:
    made = plan()
    events = history(made, "host1")
    whole = events[-1].at
    told = 0
    for number in range(1, len(events) + 1):
        found = standing(made, events[:number])
        left = found.seconds_left(events[number - 1].at)
        if number > 7 and left is not None:  # three trials are done
            # Until the first block has ended nobody can know what its end takes.
            unknown = 2 * END if not found.blocks_ended else 0
            assert left == pytest.approx((whole - events[number - 1].at).total_seconds() - unknown)
            told += 1
    assert told >= 8


def test_what_is_under_way_counts_as_far_as_it_is() -> None:
    made = plan()
    events = history(made, "host1")
    first = next(n for n, one in enumerate(events) if isinstance(one.event, BlockEnded)) + 2  # the second block began
    found = standing(made, events[:first])
    at = events[first - 1].at
    assert found.seconds_left(at + timedelta(seconds=20)) == pytest.approx(BOOT - 20 + 3 * TRIAL + END)
    assert found.seconds_left(at + timedelta(hours=1)) == pytest.approx(3 * TRIAL + END)  # never less than the rest


def test_hosts_work_side_by_side_so_the_slowest_decides() -> None:
    made = plan(hosts=2)
    both = sorted(history(made, "host1") + history(made, "host2")[1:], key=lambda happened: happened.at)
    left = standing(made, history(made, "host1")).seconds_left(both[-1].at)
    assert left == pytest.approx(2 * (BOOT + 3 * TRIAL + END))  # host2 has not begun
    assert standing(made, both).seconds_left(both[-1].at) == 0


def test_there_is_no_estimate_before_there_is_something_to_base_it_on() -> None:
    made = plan()
    events = history(made, "host1")
    assert standing(made, events[:5]).seconds_left(events[4].at) is None
    assert standing(made, []).seconds_left(START) is None


def test_hosts_show_what_they_do_and_since_when() -> None:
    made = plan()
    events = history(made, "host1")
    assert standing(made, []).hosts == {"host1": HostNow()}
    number, stack = made.blocks[0].number, made.blocks[0].stack
    assert standing(made, events[:3]).hosts["host1"] == HostNow(number, stack, "trial cpu (10 s)", events[2].at)
    told = [*events[:2], Happened(START, Doing("host1", "reboots"))]
    assert standing(made, told).hosts["host1"] == HostNow(number, stack, "reboots", START)
    assert standing(made, events).hosts["host1"] == HostNow()


def test_a_controller_that_goes_on_within_a_block_is_understood() -> None:
    """It does not begin the block once more, and its predecessor's trial in flight never ended."""
    made = plan()
    events = history(made, "host1")
    again = CampaignBegun("c", 2, made.trials, 1, "/f")
    later = timedelta(hours=5)
    trial = made.blocks[0].trials[1]
    begun = Happened(START + later, TrialBegun(trial.id, "host1", "kvm", "cpu", 2, 10))
    found = standing(made, [*events[:5], Happened(START + later, again), begun])
    assert (found.done, found.begun) == (1, START + later)
    assert found.hosts["host1"].block == made.blocks[0].number
    for happened in events[5:]:
        found.take(Happened(happened.at + later, happened.event))
    assert found.done == made.trials
    assert found.seconds_left(events[-1].at + later) == 0


def test_every_event_survives_the_file(tmp_path: Path) -> None:
    events: list[Event] = [happened.event for happened in history(plan(), "host1")]
    events += [Warned("", "ä\nline"), ended("t", "host1", Status.FAILED, None)]
    log, reader = EventLog(tmp_path / "events.jsonl"), EventReader(tmp_path / "events.jsonl")
    assert reader.news() == []  # no file yet
    for event in events[:5]:
        log.emit(event)
    assert [happened.event for happened in reader.news()] == events[:5]
    for event in events[5:]:
        log.emit(event)
    assert [happened.event for happened in reader.news()] == events[5:]
    assert reader.news() == []


def test_torn_and_unknown_lines_harm_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log, reader = EventLog(path), EventReader(path)
    path.write_bytes(b'{"at": "2026-01-02T03:04:05+00:00", "event": "Doi')
    assert reader.news() == []  # it may become whole
    log.emit(Doing("host1", "swallowed by the torn line before it"))
    log.emit(Doing("host1", "seen"))
    assert [happened.event for happened in reader.news()] == [Doing("host1", "seen")]
    for line in ("", "[]", "1", '{"event": "Doing"}', '{"at": "x", "event": "Doing", "host": "", "text": ""}'):
        assert parse(line) is None
    document = {"at": START.isoformat(), "event": "Doing", "host": "h", "text": "t"}
    assert parse(json.dumps(document)) == Happened(START, Doing("h", "t"))
    assert parse(json.dumps({**document, "event": "NewKind"})) is None
    old = {"at": START.isoformat(), "event": "TrialEnded", **asdict(ended("t", "h"))}
    del old["exits"]  # events of 0.1.0 had none
    found = parse(json.dumps(old))
    assert found is not None
    assert found.event == ended("t", "h", exits=None)


def stored(store: Store, number: int, status: Status = Status.OK) -> None:
    at = START + timedelta(seconds=30 * number)
    trial = ended(f"c.t{number}", "host1", status)
    store.add_trial(
        TrialRecord(
            *(trial.trial_id, "c", "c.b01", "host1", "kvm", "cpu", number, number, status, trial.failure),
            *("g", "", "", Fidelity.EMULATED, at, at + timedelta(seconds=12), 10.0, 2.0, (), (), 0, ""),
        )
    )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path))
    monkeypatch.delenv("NOHYPE_DATABASE_URL", raising=False)
    found = Store()
    found.add_campaign(RECORD)
    return found


def test_a_campaign_of_another_control_node_is_followed_by_the_store(store: Store) -> None:
    follower, found = Follower(store, RECORD), Standing()
    store.add_block(BlockRecord("c.b01", "c", 1, "host1", "kvm", "", "", 1.0))
    stored(store, 1)
    for happened in follower.news():
        found.take(happened)
    assert (found.done, found.trials, found.failed) == (1, 12, 0)
    assert found.hosts["host1"].block == 1
    stored(store, 2, Status.FAILED)
    news = follower.news()
    assert [happened.event for happened in news] == [ended("c.t2", "host1", Status.FAILED, 0)]
    assert follower.news() == []
    assert follower.ended() == ""  # nobody here can tell that it does not run
    store.set_campaign_status("c", "done", START)
    assert follower.ended() == "done"


def test_a_campaign_without_controller_has_ended_only_after_a_while(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders.campaign_folder("c")).mkdir(parents=True)
    (folders.campaign_folder("c") / "run.json").write_text("{}")
    follower = Follower(store, RECORD)
    assert follower.plan is None  # it cannot be read, which is no reason not to watch
    assert follower.ended() == ""
    with folders.controlling("c"):
        assert follower.ended() == ""
    monkeypatch.setattr(follow, "_PATIENCE_SECONDS", 0.0)
    assert follower.ended() == "interrupted"
    with folders.controlling("c"):
        assert follower.ended() == ""


@pytest.mark.parametrize(("width", "height"), [(60, 18), (80, 24), (160, 50)])
def test_the_view_fits_the_terminal(width: int, height: int) -> None:
    made = plan(hosts=3)
    found = standing(made, history(made, "host1"))
    long = "rack1: ansible said [red]no[/red] " * 20
    for number in range(20):
        found.take(Happened(START, replace(ended(f"x{number}", "host2", Status.FAILED), failure=long)))
        found.take(Happened(START, Warned("host2", long)))
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(watch_view(RECORD, found, START + timedelta(minutes=9), height))
    lines = console.export_text().splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "26 of 18 trials, 20 failed; 9:00" in text
    assert "✗ host2: kvm: cpu: rack1: ansible said [red]no[/red]" in text
    assert "! host2: rack1" in text
