"""The real engine, with DBOS, store and artifacts, on hosts that are folders (local_lab.py)."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from campaign_laboratory import CAMPAIGN, Laboratory
from small_file_system import small_file_system

from harness.campaign import folder as folders
from harness.results.model import NoteKind, Status, TrialRecord
from harness.wait import until

TRIALS = 20  # of CAMPAIGN: 2 stacks x 2 boots x (2 + 2 + 1)


def ended(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """The outcome that the controller printed last."""
    assert done.stdout.count("\n") == 2, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(outcome, dict)
    return outcome


def trials(laboratory: Laboratory, campaign: str) -> tuple[TrialRecord, ...]:
    with laboratory.store() as store:
        return store.trials(campaign)


def check_complete(laboratory: Laboratory, campaign: str, *, failed: int = 0) -> None:
    """Every planned trial is stored once, nothing runs on any host, and what was stored is what the counters say."""
    planned = [trial.id for block in folders.read(campaign).plan.blocks for trial in block.trials]
    found = trials(laboratory, campaign)
    assert sorted(trial.id for trial in found) == sorted(planned)
    assert sum(trial.status is Status.FAILED for trial in found) == failed
    assert laboratory.running_guests() == []
    with laboratory.store() as store:
        asked = {one.digest for one in store.fingerprints(campaign) if "guest.clocksource" in dict(one.facts)}
    for trial in found:
        if trial.status is Status.OK:
            assert trial.fingerprint in asked
            assert [row.count for row in trial.exits] == [7 if trial.workload == "boot" else 3]
            assert (laboratory.folder(campaign) / trial.artifacts / "exits.json").exists()


def test_a_campaign_runs_to_its_end(laboratory: Laboratory) -> None:
    done = laboratory.run()
    campaign = done.stdout.split()[0]
    assert done.returncode == 0, done.stderr
    assert ended(done) == {
        "campaign_id": campaign,
        "status": "done",
        "trials": TRIALS,
        "failed": 0,
        "disagreements": [],
    }
    check_complete(laboratory, campaign)
    assert len(laboratory.calls("run")) == 12
    assert len(laboratory.calls("boot")) == 4
    assert laboratory.calls("provision") == ["provision alpha kvm kvm-tuned"]  # at once, before the first block
    with laboratory.store() as store:
        record = store.campaign(campaign)
        assert (record.status, record.trials_planned, record.seed) == ("done", TRIALS, 7)
        assert record.ended_at is not None
        assert record.spec_text == CAMPAIGN
        blocks = store.blocks(campaign)
        assert [block.number for block in blocks] == [1, 2, 3, 4]
        assert len({block.boot_id for block in blocks}) == 4
        assert {block.fingerprint for block in blocks} <= {one.digest for one in store.fingerprints(campaign)}
        assert store.prometheus(campaign) == (8, ())  # two guests a block
        # The last guest that was booted serves the other trials.
        first = [trial for trial in store.trials(campaign) if trial.block_id == blocks[0].id]
        assert len({trial.guest for trial in first}) == 2
        assert len({trial.guest for trial in first[1:]}) == 1
    consoles = list((laboratory.folder(campaign) / "blocks").glob("*/console-*.log"))
    assert len(consoles) == 8


def test_blocks_of_one_host_never_overlap_and_hosts_work_side_by_side(laboratory: Laboratory) -> None:
    done = laboratory.run(hosts=["alpha", "beta"])
    assert done.returncode == 0, done.stderr
    campaign = done.stdout.split()[0]
    lines = (laboratory.folder(campaign) / folders.EVENTS).read_text().splitlines()
    events = [json.loads(line) for line in lines]
    open_blocks: Counter[str] = Counter()
    most = 0
    for event in events:
        if event["event"] in ("BlockBegun", "BlockEnded"):
            open_blocks[event["host"]] += 1 if event["event"] == "BlockBegun" else -1
            assert open_blocks[event["host"]] in (0, 1)
            most = max(most, sum(open_blocks.values()))
    assert most == 2
    for host in ("alpha", "beta"):
        numbers = [event["block"] for event in events if event["event"] == "BlockBegun" and event["host"] == host]
        assert numbers == sorted(numbers)


def test_killed_at_any_point_every_trial_is_there_exactly_once(laboratory: Laboratory) -> None:
    """kill -9 after a random number of calls to the hosts, again and again, then a run to the end."""
    chance = random.Random(1)
    killed: list[int] = []
    campaign: tuple[str, ...] = ()
    for _ in range(10):
        done = laboratory.run(*campaign, kill_after=chance.randint(3, 40), hosts=["alpha", "beta"])
        campaign = (done.stdout.split()[0],)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed.append(len(trials(laboratory, campaign[0])))
    else:
        done = laboratory.run(*campaign, hosts=["alpha", "beta"])
    assert done.returncode == 0, done.stderr
    assert killed == sorted(killed), "trials were lost"
    assert killed, "nothing was tested"
    check_complete(laboratory, campaign[0])
    runs = Counter(line for line in laboratory.calls("run"))
    # Run again is at most the one in flight on each of the two hosts, for each kill.
    assert sum(runs.values()) <= len(runs) + 2 * len(killed)
    with laboratory.store() as store:
        assert store.prometheus(campaign[0])[1] == ()


def test_killed_at_any_moment(laboratory: Laboratory) -> None:
    """kill -9 by the clock: hits the engine's own work as well, not only calls to hosts."""
    chance = random.Random(3)
    campaign: tuple[str, ...] = ()
    for _ in range(4):
        process, told = laboratory.begun(*campaign)
        campaign = (told,)
        try:
            process.wait(chance.uniform(0.3, 1.5))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        if process.returncode == 0:
            break
    done = laboratory.run(*campaign)
    assert done.returncode == 0, done.stderr
    check_complete(laboratory, campaign[0])


def test_ctrl_c_stops_after_cleaning_up_and_the_campaign_can_be_resumed(laboratory: Laboratory) -> None:
    with laboratory.held():
        process, campaign = laboratory.under_way(runs=1)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["status"] == "interrupted"
    assert laboratory.running_guests() == []
    before = {trial.id: trial for trial in trials(laboratory, campaign)}
    assert 0 < len(before) < TRIALS
    with laboratory.store() as store:
        assert store.campaign(campaign).status == "interrupted"
    done = laboratory.run(campaign)
    assert done.returncode == 0, done.stderr
    check_complete(laboratory, campaign)
    after = {trial.id: trial for trial in trials(laboratory, campaign)}
    assert {identity: after[identity] for identity in before} == before
    assert len(laboratory.calls("run")) == 12  # the current trial was let end: none was run twice


def test_a_failed_workload_and_a_guest_that_does_not_boot_fail_their_trials_alone(laboratory: Laboratory) -> None:
    faults = [
        {"method": "run", "calls": [2], "error": "WorkloadError"},
        {"method": "await_guest", "calls": [3], "error": "GuestError"},
        {"method": "create", "calls": [5], "error": "bug"},
    ]
    done = laboratory.run(faults=faults)
    assert done.returncode == 1, done.stderr
    campaign = done.stdout.split()[0]
    assert ended(done)["failed"] == 3
    check_complete(laboratory, campaign, failed=3)
    failed = {trial.failure: trial for trial in trials(laboratory, campaign) if trial.failure}
    assert set(failed) == {
        "alpha: run was made to fail",
        "alpha: await_guest was made to fail",
        "internal error: ZeroDivisionError: a bug",
    }
    folder = laboratory.folder(campaign)
    workload = failed["alpha: run was made to fail"]
    assert (folder / workload.artifacts / "dmesg.txt").read_text() == "kernel log\n"
    assert (folder / workload.artifacts / f"console-{workload.guest}.log").exists()
    assert failed["alpha: await_guest was made to fail"].workload == "boot"
    assert "Traceback" in next(folder.glob("internal-error-*.txt")).read_text()


def test_guests_that_never_boot_are_not_waited_for_by_every_trial(laboratory: Laboratory) -> None:
    done = laboratory.run(faults=[{"method": "await_guest", "calls": list(range(100)), "error": "GuestError"}])
    assert done.returncode == 1, done.stderr
    check_complete(laboratory, done.stdout.split()[0], failed=TRIALS)
    assert len(laboratory.calls("create")) == 8  # two a block: both boot trials


def test_a_host_that_hangs_once_is_power_cycled(laboratory: Laboratory) -> None:
    done = laboratory.run(faults=[{"method": "run", "calls": [2], "error": "HostUnreachableError"}])
    assert done.returncode == 1, done.stderr
    campaign = done.stdout.split()[0]
    check_complete(laboratory, campaign, failed=1)
    assert len(laboratory.calls("power_cycle")) == 1
    with laboratory.store() as store:
        (note,) = store.notes(campaign, NoteKind.POWER_CYCLED)
        assert (note.subject, note.text) == ("alpha", "power-cycled: run was made to fail")
        block = store.blocks(campaign)[0]
        boots = {trial.boot_id for trial in store.trials(campaign) if trial.block_id == block.id}
    assert len(boots) == 2  # the rest of the block ran in another boot, and says so
    assert block.boot_id in boots


def test_a_host_that_hangs_again_is_quarantined_and_the_other_one_goes_on(laboratory: Laboratory) -> None:
    faults = [{"method": "run", "host": "alpha", "calls": [2, 4], "error": "HostUnreachableError"}]
    done = laboratory.run(faults=faults, hosts=["alpha", "beta"])
    assert done.returncode == 1, done.stderr
    campaign = done.stdout.split()[0]
    assert len(laboratory.calls("power_cycle")) == 1
    found = trials(laboratory, campaign)
    assert len(found) == 2 * TRIALS
    assert all(trial.status is Status.OK for trial in found if trial.host == "beta")
    reasons = Counter(trial.failure for trial in found if trial.host == "alpha" and trial.failure)
    assert reasons.pop("alpha: run was made to fail") == 2
    assert list(reasons) == ["host quarantined (run was made to fail)"]
    assert sum(trial.status is Status.OK for trial in found if trial.host == "alpha") == 6  # 2 boots, 2 runs; 2 boots
    # A controller that comes back later does not touch it either.
    boots = len(laboratory.calls("boot"))
    with laboratory.store() as store:
        store.set_campaign_status(campaign, "running")
    assert laboratory.run(campaign, hosts=["alpha", "beta"]).returncode == 1
    assert len(laboratory.calls("boot")) == boots


@pytest.mark.parametrize(
    ("method", "error", "power_cycles", "failed"),
    [
        ("boot", "HostUnreachableError", 1, 0),  # the power cycle helped
        ("boot", "HostKeyError", 0, TRIALS),  # a host that may be another one is given up at once
        ("boot", "ProvisionError", 0, 5),  # the host answers: only this block is lost
        ("boot", "UnavailableError", 0, 5),
        ("prepare", "ProvisionError", 0, 5),  # it lacks what one stack needs: the other's blocks run
    ],
)
def test_a_block_that_cannot_begin(
    laboratory: Laboratory, method: str, error: str, power_cycles: int, failed: int
) -> None:
    done = laboratory.run(faults=[{"method": method, "calls": [1], "error": error}])
    assert done.returncode == (1 if failed else 0), done.stderr
    campaign = done.stdout.split()[0]
    check_complete(laboratory, campaign, failed=failed)
    assert len(laboratory.calls("power_cycle")) == power_cycles
    if failed == 5:
        reasons = {trial.failure for trial in trials(laboratory, campaign) if trial.failure}
        assert reasons == {f"the block could not begin: alpha: kvm: alpha: {method} was made to fail"}


def test_prometheus_disagreeing_is_told_and_fails_the_exit_code(laboratory: Laboratory) -> None:
    process, campaign = laboratory.begun()
    until(lambda: len(laboratory.calls("create")) == 2, seconds=60, what="second guest", interval=0.005)
    (first,) = [path for path in laboratory.root.glob("*/guests/*") if not (path / "running").exists()]
    with (first / "counter").open("a") as counter:
        counter.write("x")  # a count that no reading saw
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert json.loads(out)["disagreements"] == [f"{first.name}: 8 counted, 7 stored"]
    check_complete(laboratory, campaign)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of its own needs root: sudo tests/run")
def test_a_full_disk_under_the_artifacts_fails_trials_and_the_campaign_goes_on(laboratory: Laboratory) -> None:
    artifacts = laboratory.state / "artifacts"
    artifacts.mkdir(parents=True)
    with small_file_system(artifacts, "64k"):
        done = laboratory.run()
        assert done.returncode == 1, done.stderr
        found = trials(laboratory, done.stdout.split()[0])
        assert len(found) == TRIALS
        assert laboratory.running_guests() == []
        reasons = [trial.failure for trial in found if trial.failure]
        assert reasons
        assert all("artifacts cannot be written: No space left on device" in reason for reason in reasons)


def test_a_store_that_fails_halts_the_campaign_which_can_be_resumed(laboratory: Laboratory) -> None:
    with laboratory.held():
        process, campaign = laboratory.under_way(runs=1)
        with sqlite3.connect(laboratory.state / "results.sqlite", timeout=30) as database:
            database.execute("ALTER TABLE trials RENAME TO hidden")
        database.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the results store failed: no such table: trials" in err
    assert laboratory.running_guests() == []
    with sqlite3.connect(laboratory.state / "results.sqlite") as database:
        database.execute("ALTER TABLE hidden RENAME TO trials")
    database.close()
    done = laboratory.run(campaign)
    assert done.returncode == 0, done.stderr
    check_complete(laboratory, campaign)


def test_a_second_controller_is_refused(laboratory: Laboratory) -> None:
    with laboratory.held():
        process, campaign = laboratory.under_way(runs=1)
        second = laboratory.run(campaign)
        assert second.returncode == 3
        assert f"the campaign is being run by process {process.pid}" in second.stderr
        process.send_signal(signal.SIGTERM)  # as polite as Ctrl-C
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert laboratory.running_guests() == []


def test_campaigns_take_turns_on_a_host(laboratory: Laboratory) -> None:
    both = [laboratory.controller() for _ in range(3)]
    campaigns = []
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        campaigns.append(out.split()[0])
    assert len(set(campaigns)) == 3
    for campaign in campaigns:
        check_complete(laboratory, campaign)  # guests of two campaigns at once would not have found room


def test_a_host_held_by_a_dead_campaign_is_named(laboratory: Laboratory) -> None:
    dead = laboratory.run(kill_after=15)
    assert dead.returncode == -signal.SIGKILL
    held = dead.stdout.split()[0]
    refused = laboratory.run()
    assert refused.returncode == 3
    assert f"the host is held by campaign {held}" in refused.stderr
    assert f"nohype campaign resume {held} (or cancel {held})" in refused.stderr
    assert laboratory.run(held).returncode == 0
    check_complete(laboratory, held)


def test_a_running_campaign_is_cancelled_between_trials(laboratory: Laboratory) -> None:
    with laboratory.held():
        process, campaign = laboratory.under_way(runs=1)
        cancelling = laboratory.command("campaign", "cancel")
        with laboratory.store() as store:
            until(lambda: store.notes(campaign, NoteKind.CANCEL), seconds=60, what="the wish to cancel")
    told, _ = cancelling.communicate(timeout=60)
    assert cancelling.returncode == 0
    assert told == f"{campaign} is cancelled; its results stay: nohype compare {campaign}\n"
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert json.loads(out)["status"] == "cancelled"
    assert laboratory.running_guests() == []
    assert 0 < len(trials(laboratory, campaign)) < TRIALS
    again = laboratory.nohype("campaign", "resume", campaign)
    assert again.returncode == 2
    assert "the campaign is cancelled; there is nothing to resume" in again.stderr


def test_cancelling_a_dead_campaign_frees_its_host(laboratory: Laboratory) -> None:
    dead = laboratory.run(kill_after=15).stdout.split()[0]
    shown = json.loads(laboratory.nohype("campaign", "status", dead, "--json").stdout)
    assert (shown["status"], shown["trials_planned"]) == ("interrupted", TRIALS)
    assert [block["state"] for block in shown["blocks"]] == ["begun", "waits", "waits", "waits"]
    assert laboratory.nohype("campaign", "cancel", dead).returncode == 0
    done = laboratory.run()
    assert done.returncode == 0, done.stderr
    check_complete(laboratory, done.stdout.split()[0])
    listed = json.loads(laboratory.nohype("campaign", "list", "--json").stdout)
    assert [one["status"] for one in listed] == ["done", "cancelled"]


@pytest.mark.xdist_group("postgresql")
def test_with_postgresql(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, postgresql_url: str) -> None:
    """Engine, store and leases in a PostgreSQL: killed, resumed, and two controllers on one host."""
    monkeypatch.setenv("NOHYPE_DATABASE_URL", postgresql_url)
    dead = laboratory.run(kill_after=15)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    campaign = dead.stdout.split()[0]
    done = laboratory.run(campaign)
    assert done.returncode == 0, done.stderr
    check_complete(laboratory, campaign)
    both = [laboratory.controller() for _ in range(2)]
    campaigns = []
    for process in both:  # one waits for the other's hosts: what runs on them is nothing only after both
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        campaigns.append(out.split()[0])
    for campaign in campaigns:
        check_complete(laboratory, campaign)
    assert not list(laboratory.state.glob("*.sqlite"))


def test_another_version_of_the_harness_does_not_resume(laboratory: Laboratory, tmp_path: Path) -> None:
    dead = laboratory.run(kill_after=15)
    campaign = dead.stdout.split()[0]
    path = laboratory.folder(campaign) / "run.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"flow": "0"}))
    refused = laboratory.run(campaign)
    assert refused.returncode == 3
    assert "begun by another version of the harness (flow 0, this is 1)" in refused.stderr


def test_a_campaign_that_finds_a_lost_core_on_its_host_boots_it_first(laboratory: Laboratory) -> None:
    dead = laboratory.run(faults=[{"method": "run", "calls": [1], "error": "kill"}])
    assert dead.returncode == -signal.SIGKILL
    campaign = dead.stdout.split()[0]
    boot = laboratory.root / "alpha/boot.json"
    boot.write_text(json.dumps({**json.loads(boot.read_text()), "lost": [2]}))
    done = laboratory.run(campaign)
    assert done.returncode == 0, done.stderr
    assert len(laboratory.calls("boot")) == 5  # four blocks, and once more for the core
    assert "lost" not in json.loads(boot.read_text())
    assert sorted(trial.status for trial in trials(laboratory, campaign)) == [Status.OK] * TRIALS


def test_a_host_that_a_killed_controller_left_rebooting_is_waited_for(laboratory: Laboratory) -> None:
    dead = laboratory.run(faults=[{"method": "boot", "calls": [1], "error": "kill"}])
    assert dead.returncode == -signal.SIGKILL
    campaign = dead.stdout.split()[0]
    done = laboratory.run(campaign, faults=[{"method": "open", "calls": [1, 2], "error": "HostUnreachableError"}])
    assert done.returncode == 0, done.stderr
    check_complete(laboratory, campaign)
    assert laboratory.calls("power_cycle") == []
