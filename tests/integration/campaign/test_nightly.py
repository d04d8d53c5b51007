"""Nights with the real engine, store and DBOS schedules, on hosts that are folders (local_lab.py)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import local_nightly
import pytest
from campaign_laboratory import COUNTING, Laboratory
from forked import Forked
from small_file_system import small_file_system

from harness.nightly.presence import alone, controller, node
from harness.results.model import NightlyRecord, NightRecord, NightStatus
from harness.results.store import Store
from harness.wait import until

# Ten figures a night, so that a few nights are a history.
CAMPAIGN = """
name: test
hosts: all
stacks: [kvm]
boots: 1
guest: {vcpus: 1, memory_mib: 64}
workloads: [{name: one, repeats: 3}]
"""


@dataclass
class Nights:
    """A laboratory with an installed nightly."""

    laboratory: Laboratory

    def install(self, *, at: datetime, installed_at: datetime, late_hours: float = 6, node_name: str = "") -> None:
        """A nightly `n`, due every day at the time of day of `at`."""
        spec = f'name: n\ncampaign: test.yml\nat: "{at:%H:%M}"\nlate_hours: {late_hours}\n'
        file = str(self.laboratory.file)
        inventory = str(self.laboratory.root / "inventory.yml")
        with Store() as store:
            store.set_nightly(
                NightlyRecord("n", node_name or node(), spec, file, "test", inventory, installed_at, None)
            )

    def start(self, *words: str, **options: object) -> Forked:
        process = Forked(local_nightly.main, str(self.laboratory.root), json.dumps(options), *words)
        self.laboratory.processes.append(process)
        return process

    def run(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        process = self.start("run", "n", *words, **options)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.wait(), out, err)

    def all(self) -> tuple[NightRecord, ...]:
        with Store() as store:
            return store.nights("n")

    def await_ended(self, count: int) -> tuple[NightRecord, ...]:
        return until(
            lambda: found if len(found := [one for one in self.all() if one.digest or one.ended_at]) >= count else None,
            seconds=300,
            what=f"the end of {count} nights",
        )  # type: ignore[return-value]

    def figure(self, value: int) -> None:
        """From now on the workload prints this."""
        text = COUNTING.replace("NAME", "one").replace("MOMENT", "sleep 0.01").replace("figure: 42", f"figure: {value}")
        (self.laboratory.root / "workloads" / "one.yml").write_text(text)


@pytest.fixture
def nights(laboratory: Laboratory) -> Nights:
    laboratory.file.write_text(CAMPAIGN)
    return Nights(laboratory)


def soon_over() -> datetime:
    """A moment a little while ago, in whole minutes: the last time that a nightly installed then was due."""
    return (datetime.now(UTC) - timedelta(minutes=2)).replace(second=0, microsecond=0)


def test_nights_measure_and_find_what_got_worse_until_it_is_acknowledged(nights: Nights) -> None:
    now = datetime.now(UTC)
    nights.install(at=now - timedelta(hours=1), installed_at=now)
    nights.figure(100)
    for _ in range(2):
        done = nights.run()
        assert done.returncode == 0, done.stderr
    nights.figure(80)
    assert nights.run().returncode == 0  # one night alone is no change yet
    done = nights.run()
    assert done.returncode == 4, done.stderr
    assert "regressed" in done.stdout
    last = nights.all()[-1]
    assert (last.status, last.digest) == (NightStatus.REGRESSED, "nobody asked for it")
    nohype = nights.laboratory.nohype
    trend = nohype("nightly", "trend", "--json")
    assert trend.returncode == 4, trend.stderr
    (change,) = json.loads(trend.stdout)["changes"]
    assert (change["before"], change["after"], change["kind"]) == (100, 80, "worse")
    assert nohype("nightly", "ack", change["id"], "--note", "known").returncode == 0
    assert nohype("nightly", "trend").returncode == 0
    assert nights.run().returncode == 0
    (listed,) = json.loads(nohype("nightly", "list", "--json").stdout)
    assert [one["status"] for one in listed["nights"]] == ["ok", "regressed", *["ok"] * 3]
    digest = nohype("nightly", "digest", "--html")
    assert digest.stdout.startswith("<!doctype html>")


def test_a_failed_trial_makes_a_failed_night(nights: Nights) -> None:
    nights.install(at=datetime.now(UTC), installed_at=datetime.now(UTC))
    done = nights.run(faults=[{"method": "run", "calls": [2], "error": "WorkloadError"}])
    assert done.returncode == 1
    (night,) = nights.all()
    assert (night.status, night.reason) == (NightStatus.FAILED, "1 of 3 trials failed")


def test_a_campaign_that_cannot_begin_makes_a_failed_night_with_the_reason(nights: Nights) -> None:
    nights.install(at=datetime.now(UTC), installed_at=datetime.now(UTC))
    nights.laboratory.file.write_text(CAMPAIGN.replace("kvm", "kvn"))
    assert nights.run().returncode == 1
    (night,) = nights.all()
    assert night.status is NightStatus.FAILED
    assert "unknown stack 'kvn'; did you mean 'kvm'" in night.reason


def test_a_quarantined_host_makes_a_failed_night_and_the_digest_says_why(nights: Nights) -> None:
    nights.install(at=datetime.now(UTC), installed_at=datetime.now(UTC))
    assert nights.run(faults=[{"method": "run", "calls": [1, 2], "error": "HostUnreachableError"}]).returncode == 1
    (night,) = nights.all()
    assert night.status is NightStatus.FAILED
    digest = nights.laboratory.nohype("nightly", "digest").stdout
    assert "- power-cycled: alpha: " in digest
    assert "- quarantined: alpha: " in digest


def test_a_killed_night_is_gone_on_with_and_measures_nothing_twice(nights: Nights) -> None:
    nights.install(at=soon_over(), installed_at=datetime.now(UTC))
    assert nights.run(kill_after=12).returncode == -signal.SIGKILL
    (night,) = nights.all()
    assert (night.status, bool(night.campaign_id)) == (NightStatus.RUNNING, True)
    (listed,) = json.loads(nights.laboratory.nohype("nightly", "list", "--json").stdout)
    assert listed["nights"][0]["status"] == "interrupted"
    done = nights.run()
    assert done.returncode == 0, done.stderr
    (again,) = nights.all()
    assert (again.status, again.campaign_id) == (NightStatus.OK, night.campaign_id)
    with Store() as store:
        assert len(store.trials(night.campaign_id)) == 3


def test_an_interrupted_night_that_is_too_late_frees_its_host(nights: Nights) -> None:
    """The campaign it left would hold the host, and every later night would fail."""
    due = soon_over()
    nights.install(at=due, installed_at=due - timedelta(minutes=1), late_hours=0)
    night = f"{due:%Y-%m-%d}"
    assert nights.run(night, kill_after=12).returncode == -signal.SIGKILL
    assert nights.run(night, "--scheduled").returncode == 1
    (found,) = nights.all()
    assert found.status is NightStatus.FAILED
    assert "interrupted" in found.reason
    done = nights.run()
    assert done.returncode == 0, done.stderr


def test_two_runs_of_a_nightly_queue(nights: Nights) -> None:
    nights.install(at=soon_over(), installed_at=datetime.now(UTC))
    with alone("n", print):  # as another run holds it
        second = nights.start("run", "n")
        assert "waiting for its end" in second.stderr.readline()
        assert nights.all() == ()
    assert second.wait(300) == 0
    (night,) = nights.all()
    assert night.status is NightStatus.OK


def test_the_controller_runs_a_late_night_and_records_the_missed_ones(nights: Nights) -> None:
    """Two nights lie so far back that only the last may still begin."""
    due = soon_over()
    nights.install(at=due, installed_at=due - timedelta(days=2, minutes=1))
    daemon = nights.start("daemon")
    ended = nights.await_ended(3)
    assert [(one.night, one.status) for one in ended] == [
        (f"{due - timedelta(days=2):%Y-%m-%d}", NightStatus.MISSED),
        (f"{due - timedelta(days=1):%Y-%m-%d}", NightStatus.MISSED),
        (f"{due:%Y-%m-%d}", NightStatus.OK),
    ]
    assert controller() == daemon.pid
    second = nights.start("daemon")
    assert second.wait(120) == 3
    assert f"process {daemon.pid} is the controller" in second.stderr.read()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(120) == 0
    assert controller() is None
    again = nights.start("daemon")
    until(lambda: controller() == again.pid, seconds=120, what="the next controller")
    with Store() as store:  # a nightly of another control node is none of its business
        store.set_nightly(replace(store.nightlies()[0], name="m", node="elsewhere"))
    again.send_signal(signal.SIGTERM)
    assert again.wait(120) == 0
    assert len(nights.all()) == 3


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_night_survives_the_end_of_its_controller(nights: Nights, how: signal.Signals) -> None:
    """SIGTERM stops the night after its trial; SIGKILL leaves it running, and the next controller waits for it."""
    due = soon_over()
    nights.install(at=due, installed_at=due - timedelta(minutes=1))
    with nights.laboratory.held():
        daemon = nights.start("daemon")
        until(lambda: nights.laboratory.calls("run"), seconds=120, what="the first trial")
        os.kill(daemon.pid, how)
    assert daemon.wait(120) == (0 if how is signal.SIGTERM else -how)
    if how is signal.SIGTERM:
        (stopped,) = nights.all()
        assert stopped.status is NightStatus.RUNNING
    nights.start("daemon")
    (night,) = nights.await_ended(1)
    assert night.status is NightStatus.OK
    with Store() as store:
        assert len(store.trials(night.campaign_id)) == 3
        assert len([one for one in store.campaigns() if one.name == "test"]) == 1


def test_the_controller_goes_on_with_a_night_whose_process_was_killed(nights: Nights) -> None:
    """Each of its processes dies after some calls, as where memory is short, and yet the night comes to its end."""
    due = soon_over()
    nights.install(at=due, installed_at=due - timedelta(minutes=1))
    nights.start("daemon", kill_after=25)
    (night,) = nights.await_ended(1)
    assert night.status is NightStatus.OK


def test_a_nightly_that_was_uninstalled_is_started_no_more(nights: Nights, tmp_path: Path) -> None:
    due = soon_over()
    nights.install(at=due, installed_at=due - timedelta(minutes=1))
    done = nights.laboratory.nohype("nightly", "uninstall")
    assert done.returncode == 0, done.stderr
    daemon = nights.start("daemon")
    until(lambda: controller() == daemon.pid, seconds=120, what="the controller")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(120) == 0
    assert nights.all() == ()
    assert nights.laboratory.nohype("nightly", "list").returncode == 3


@pytest.fixture
def small_disk(laboratory: Laboratory) -> Iterator[Path]:
    """The state folder, on a file system of its own with room for a night and little else."""
    laboratory.state.mkdir()
    with small_file_system(laboratory.state, "8m"):
        yield laboratory.state


def fill(path: Path) -> None:
    """Leave no room beside this file."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    assert shutil.disk_usage(path).free == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of its own needs root: sudo tests/run")
def test_a_night_waits_for_room_on_a_full_disk(small_disk: Path, nights: Nights) -> None:
    due = soon_over()
    nights.install(at=due, installed_at=due - timedelta(minutes=1))
    with nights.laboratory.held():
        daemon = nights.start("daemon")
        until(lambda: nights.laboratory.calls("run"), seconds=120, what="the first trial", interval=0.01)
        fill(small_disk / "filler")
    assert any("has ended with status 1" in line for line in daemon.stdout)
    assert "database or disk is full" in daemon.stderr.readline()
    (waiting,) = nights.all()
    assert waiting.status is NightStatus.RUNNING
    (small_disk / "filler").unlink()
    (night,) = nights.await_ended(1)
    assert night.status is NightStatus.OK
    with Store() as store:
        assert [trial.status for trial in store.trials(night.campaign_id)] == ["ok"] * 3
