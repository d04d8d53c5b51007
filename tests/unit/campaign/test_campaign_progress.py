"""A running campaign on the terminal and without one: finished steps and trials, folded tasks, the first round."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from harness.campaign.events import (
    BlockBegun,
    BlockEnded,
    CampaignBegun,
    CampaignEnded,
    Doing,
    Event,
    Happened,
    TrialBegun,
    TrialEnded,
    parse,
)
from harness.campaign.plan import Plan, Use, make_plan
from harness.campaign.standing import Standing
from harness.cli.campaign_progress import Display, Progress
from harness.cli.round_table import FirstRound, round_table
from harness.results.model import Fidelity, Status
from harness.wait import until

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOST = "rack1"
USES = [Use("boot", 0, 1, boots=True), Use("idle", 6, 2, boots=False), Use("cpu", 4, 1, boots=False)]
EXITS = {"boot": 5000, "idle": 60, "cpu": 1200}


def plan(boots: int = 2) -> Plan:
    return make_plan("c", 1, hosts=[HOST], stacks=["kvm", "nohype"], boots=boots, uses=USES)


def campaign(made: Plan, failing: tuple[str, str] = ("", "")) -> list[Happened]:
    """Every block is provisioned in 40 s, with tasks; reboots in 30 s; asks Prometheus for a moment."""
    found: list[Happened] = []
    at = START

    def happens(event: Event, seconds: float = 0) -> None:
        nonlocal at
        found.append(Happened(at, event))
        at += timedelta(seconds=seconds)

    happens(CampaignBegun("c", len(made.blocks), made.trials, 0, "/f"))
    for block in made.blocks:
        happens(BlockBegun(block.number, HOST, block.stack, len(block.trials)))
        happens(Doing(HOST, f"provision {block.stack}"), 10)
        for number in range(1, 4):
            happens(Doing(HOST, f"provision {block.stack}", f"task {number}: base: Task [{number}]"), 10)
        happens(Doing(HOST, f"reboots into {block.stack}"), 30)
        happens(Doing(HOST, "waits for its services"), 1)
        for trial in block.trials:
            happens(TrialBegun(trial.id, HOST, block.stack, trial.workload, trial.repeat, trial.seconds), 1)
            happens(Doing(HOST, "start guest g1"), 5)
            bad = (block.stack, trial.workload) == failing
            exits = 0 if block.stack == "nohype" and trial.workload != "boot" else EXITS[trial.workload]
            happens(
                TrialEnded(
                    *(trial.id, HOST, block.stack, trial.workload, Status.FAILED if bad else Status.OK),
                    *("guest died" if bad else "", 10.0, 1.0, exits),
                )
            )
        happens(Doing(HOST, "asking Prometheus"), 0.5)
        happens(BlockEnded(block.number, HOST, block.stack))
    happens(CampaignEnded("c", "done", made.trials, 0, 0))
    return found


def shown(made: Plan | None, events: list[Happened], display: Display = Display()) -> list[str]:  # noqa: B008
    text = io.StringIO()
    progress = Progress(Console(file=text, width=80), made, Fidelity.EMULATED, display)
    with progress.shown():
        for happened in events:
            progress.take(happened)
    return text.getvalue().splitlines()


def test_without_a_terminal_each_finished_step_has_one_line_and_tasks_none() -> None:
    made = plan()
    lines = shown(made, campaign(made))
    provisioned = [line for line in lines if "provision" in line]
    assert len(provisioned) == 4
    assert provisioned[0] == f"   0:40 rack1: provision {made.blocks[0].stack} 40.0 s"
    assert sum("reboots into" in line and line.endswith("30.0 s") for line in lines) == 4
    assert sum("✓ rack1" in line for line in lines) == made.trials
    text = "\n".join(lines)
    # Tasks are in the log; what takes a moment, and what a trial's own line covers, are no steps to tell of.
    for folded in ("task", "waits for", "start guest", "asking"):
        assert folded not in text
    table = 3 + len(USES)  # title, heading, rule
    assert len([line for line in lines if line.strip()]) == 1 + 4 + 4 + 4 + made.trials + table


def test_verbose_tells_each_task() -> None:
    made = plan()
    few, many = (shown(made, campaign(made), Display(verbose=verbose)) for verbose in (False, True))
    tasks = [line for line in many if "task" in line]
    assert len(tasks) == 12
    assert "base: Task [1]" in tasks[0]
    assert [line for line in many if line not in tasks] == few


def test_the_clock_may_count_from_before_the_campaign() -> None:
    made = plan()
    lines = shown(made, campaign(made), Display(begun=START - timedelta(minutes=6)))
    assert lines[0].startswith("   6:00 c: 4 blocks")


def test_the_first_round_is_shown_as_soon_as_it_is_measured() -> None:
    made = plan()
    events = campaign(made)
    lines = shown(made, events)
    title = next(number for number, line in enumerate(lines) if "First round" in line)
    before = [line for line in lines[:title] if "✓" in line]
    assert {(stack, workload) for line in before for stack, workload in [line.split(": ")[1:3]]} >= {
        (stack, f"{workload} 10.0 s, {rate} exits/s, overhead 1.0 s")
        for stack in ("kvm", "nohype")
        for workload, rate in (("boot", 500), ("idle", "6.00" if stack == "kvm" else 0))
    }
    assert sum("First round" in line for line in lines) == 1
    # Until the last trial of the round there is none.
    count, round_ = 0, FirstRound(made)
    ends = [one.event for one in events if isinstance(one.event, TrialEnded)]
    while not round_.take(ends[count]):
        count += 1
    assert {(trial.stack, trial.workload) for trial in ends[: count + 1]} == {
        (stack, use.workload) for stack in ("kvm", "nohype") for use in USES
    }
    assert {(trial.stack, trial.workload) for trial in ends[:count]} != {
        (stack, use.workload) for stack in ("kvm", "nohype") for use in USES
    }
    assert len(before) == count + 1
    assert not any(round_.take(trial) for trial in ends[count + 1 :])


def rows(made: Plan, trials: list[TrialEnded], width: int = 80) -> dict[str, list[str]]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(round_table(made, trials, Fidelity.EMULATED))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    cells = [[cell.strip() for cell in re.split(r"\s{2,}", line.strip())] for line in lines]
    return {name: figures for name, *figures in cells if figures}


def test_the_table_has_totals_of_boots_and_rates_of_the_rest() -> None:
    made = plan(boots=1)
    found = rows(made, [one.event for one in campaign(made) if isinstance(one.event, TrialEnded)])
    assert found["workload"] == ["kvm", "nohype"]
    assert found["boot, exits in all"] == ["5,000", "5,000"]
    assert found["cpu"] == ["120", "0"]
    assert found["idle"] == ["6.00", "0"]


def test_failed_trials_and_unknown_counts_are_no_figures() -> None:
    made = plan(boots=1)
    ended = [one.event for one in campaign(made, failing=("kvm", "cpu")) if isinstance(one.event, TrialEnded)]
    assert rows(made, ended)["cpu"] == ["failed", "0"]
    old = TrialEnded("t", HOST, "kvm", "idle", Status.OK, "", 10.0, 1.0, None)  # an event of an older version
    assert rows(made, [old])["idle"] == ["–", "–"]


def test_a_campaign_that_goes_on_counts_what_was_measured_before() -> None:
    made = plan(boots=1)
    ended = [one.event for one in campaign(made) if isinstance(one.event, TrialEnded)]
    round_ = FirstRound(made)
    last = next(number for number, trial in enumerate(ended) if round_.take(trial))
    for before in (last, last + 1):
        text = io.StringIO()
        progress = Progress(Console(file=text, width=80), made, None, Display(), ended[:before])
        for trial in ended[before:]:
            progress.take(Happened(START, trial))
        assert ("First round" in text.getvalue()) == (before == last)  # else it was shown before


def test_without_a_plan_there_is_no_round() -> None:
    made = plan()
    assert not any("First round" in line for line in shown(None, campaign(made)))


def test_a_task_is_a_detail_of_what_its_host_does() -> None:
    made = plan()
    standing = Standing(made)
    for happened in campaign(made)[:5]:
        standing.take(happened)
    host = standing.hosts[HOST]
    assert host.now == f"provision {made.blocks[0].stack} (task 2: base: Task [2])"
    assert host.since == START
    standing.take(campaign(made)[6])
    assert standing.hosts[HOST].now == f"reboots into {made.blocks[0].stack}"
    # Events of older versions have none.
    old = parse(f'{{"at": "{START.isoformat()}", "event": "Doing", "host": "h", "text": "t"}}')
    assert old is not None
    assert old.event == Doing("h", "t", "")


@pytest.mark.parametrize(("trials", "left"), [(0, "about 6:5"), (4, "to go")])
def test_a_terminal_folds_tasks_into_one_line_and_tells_what_remains(trials: int, left: str) -> None:
    made = plan()
    events = [one.event for one in campaign(made)]
    ends = [number for number, event in enumerate(events) if isinstance(event, TrialEnded)]
    first = 5 if not trials else ends[trials - 1] + 1
    text = io.StringIO()
    progress = Progress(Console(file=text, width=80, force_terminal=True), made, None, Display(expected_seconds=420))

    def drawn() -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue().replace("\r", "\n"))

    with progress.shown():
        for event in events[:first]:
            progress.show(event)
        until(lambda: f"{trials} of {made.trials} trials; 0:0" in drawn() or None, seconds=60, what="its last line")
        if not trials:
            wanted = f"block 1 of 4: {made.blocks[0].stack}; provision {made.blocks[0].stack} (task 2: base: Task [2])"
            until(lambda: wanted in drawn() or None, seconds=60, what="the folded task")
    assert left in drawn()
    assert max(map(len, drawn().splitlines())) <= 80
    assert not [line for line in drawn().splitlines() if line.endswith("Task [1]")]
