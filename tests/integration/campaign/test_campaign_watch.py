"""`nohype campaign watch` in a process of its own follows a campaign that another one runs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections import Counter

from campaign_laboratory import NOHYPE, Laboratory
from processes import bound_to_us
from test_campaign_engine import TRIALS


def test_it_follows_a_running_campaign_to_its_end(laboratory: Laboratory) -> None:
    process, campaign = laboratory.under_way(runs=1)
    watched = laboratory.nohype("campaign", "watch")
    assert process.poll() is not None or process.wait(30) == 0  # it ended with the campaign, not before
    assert watched.returncode == process.returncode == 0, watched.stderr
    lines = watched.stdout.splitlines()
    assert sum("✓ alpha: " in line and "exits/s" in line for line in lines) == TRIALS
    assert sum("alpha: block " in line for line in lines) == 4
    assert f"{campaign} is done: {TRIALS} trials" in lines
    # Both stacks were measured once after two of the four blocks.
    first_round = next(number for number, line in enumerate(lines) if line.startswith("First round: VM exits"))
    assert sum("✓ alpha: " in line for line in lines[:first_round]) < TRIALS
    assert ["workload", "kvm", "kvm-tuned"] in [line.split() for line in lines[first_round:]]


def test_its_exit_code_and_its_lines_tell_of_failed_trials(laboratory: Laboratory) -> None:
    faulty = laboratory.controller(faults=[{"method": "run", "calls": [2], "error": "WorkloadError"}])
    failing = faulty.stdout.readline().strip()
    watched = laboratory.nohype("campaign", "watch", failing)
    assert faulty.wait(30) == 1
    assert watched.returncode == 1, watched.stderr
    assert sum("✗ alpha: " in line and "run was made to fail" in line for line in watched.stdout.splitlines()) == 1
    # One that has ended already is told in full as well, and with its own exit code.
    again = laboratory.nohype("campaign", "watch", failing)
    assert (again.returncode, again.stdout) == (1, watched.stdout)


def test_json_has_every_event_and_the_outcome_last(laboratory: Laboratory) -> None:
    process, campaign = laboratory.begun()
    watched = laboratory.nohype("campaign", "watch", campaign, "--json")
    assert process.wait(30) == watched.returncode == 0, watched.stderr
    *events, outcome = [json.loads(line) for line in watched.stdout.splitlines()]
    kinds = Counter(event["event"] for event in events)
    assert (kinds["TrialBegun"], kinds["TrialEnded"], kinds["BlockEnded"]) == (TRIALS, TRIALS, 4)
    assert (outcome["campaign_id"], outcome["trials"], outcome["failed"]) == (campaign, TRIALS, 0)


def test_ctrl_c_ends_the_watching_alone(laboratory: Laboratory) -> None:
    with laboratory.held():
        process, _ = laboratory.under_way(runs=1)
        watcher = laboratory.command("campaign", "watch")
        assert watcher.stdout
        watcher.stdout.readline()
        watcher.send_signal(signal.SIGINT)
        _, err = watcher.communicate(timeout=60)
        assert watcher.returncode == 130, err
        assert "goes on" in err
    assert process.wait(60) == 0


def test_on_a_terminal_it_is_one_screen(laboratory: Laboratory) -> None:
    process, _ = laboratory.under_way(runs=1)
    screen, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    watcher = subprocess.Popen(bound_to_us([*NOHYPE, "campaign", "watch"]), stdout=terminal, stderr=terminal, env=env)
    os.close(terminal)
    shown = b""
    try:
        while data := os.read(screen, 65536):
            shown += data
    except OSError:  # how a terminal tells that nobody writes to it any more
        pass
    assert watcher.wait(30) == process.wait(30) == 0
    text = shown.decode()
    assert f"{TRIALS} of {TRIALS} trials" in text
    assert "4 of 4 blocks done" in text
    assert "exits/s" in text


def test_it_tells_that_the_controller_died(laboratory: Laboratory) -> None:
    with laboratory.held():
        process, campaign = laboratory.under_way(runs=1)
        process.kill()
        process.communicate()
    watched = laboratory.nohype("campaign", "watch", campaign)
    assert watched.returncode == 130
    assert f"next: nohype campaign resume {campaign}" in watched.stdout
