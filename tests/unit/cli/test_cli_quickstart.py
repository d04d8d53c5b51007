"""How `nohype quickstart` goes about it. FIXTURE: neither rack nor kernel is real; their order is the matter."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from harness.campaign.register import INTERRUPTED, Outcome
from harness.cli import campaign_run, needs
from harness.cli.estimate import CAMPAIGN_SECONDS, Estimate
from harness.cli.quickstart import quickstart
from harness.cli.rack import app as rack
from harness.errors import HarnessError
from harness.kernel import build
from harness.rack import control
from harness.steps import Step
from harness.wait import until


@dataclass
class House:
    """What was done, in order. `up` and `compile` may be replaced."""

    done: list[str] = field(default_factory=list)
    up: Callable[[], None] = lambda: None
    compile: Callable[[], None] = lambda: None

    def quickstart(self, *words: str) -> tuple[int, str, BaseException | None]:
        app = typer.Typer()
        app.command()(quickstart)
        found = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
        return found.exit_code, found.stderr, found.exception


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path / "state"))
    found = House()

    def bring_up(_file: Path, step: Step, *, replace: bool = False) -> None:
        with step("rack"):
            found.up()
        found.done.append("rack")

    def build_kernel(_recipe: object, step: Step) -> None:
        with step("kernel"):
            found.compile()
        found.done.append("kernel")

    def campaign(*_words: object, **_options: object) -> Outcome:
        found.done.append("campaign")
        return Outcome("c-1", INTERRUPTED, 36, 0, ())

    enough = needs.Needs((), (), 2, Estimate(395, CAMPAIGN_SECONDS), (), 1.0, 2.0)
    monkeypatch.setattr(needs, "needs", lambda *_words, **_options: enough)
    monkeypatch.setattr("harness.toolbox.process.require_root", lambda _what: None)
    monkeypatch.setattr(control, "up", bring_up)
    monkeypatch.setattr(control, "build", lambda step: bring_up(tmp_path, step))
    monkeypatch.setattr(control, "down", lambda: found.done.append("down"))
    monkeypatch.setattr(build, "build", build_kernel)
    monkeypatch.setattr(campaign_run, "start", campaign)
    return found


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Presses Ctrl-C, also where tests run in the background, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def never() -> None:
    until(lambda: False, seconds=600, what="never")


def test_rack_and_kernel_are_made_side_by_side_and_the_campaign_waits_for_both(house: House) -> None:
    met = threading.Barrier(2, timeout=60)

    def compile_last() -> None:
        met.wait()
        until(lambda: "rack" in house.done, seconds=60, what="the rack")

    house.up, house.compile = met.wait, compile_last
    code, told, _ = house.quickstart()
    assert code == 130  # the campaign's own
    assert house.done == ["rack", "kernel", "campaign"]
    lines = told.splitlines()
    assert lines[0] == "quickstart: kvm, kvm-tuned, nohype compared on an emulated rack, with a report"
    assert "about 15 min on 2 cores" in lines[1]
    assert [line.split()[2] for line in lines if "✓" in line] == ["rack", "kernel"]


def test_rack_build_makes_them_side_by_side(house: House) -> None:
    met = threading.Barrier(2, timeout=60)
    house.up = house.compile = met.wait
    done = CliRunner().invoke(rack, ["build"])
    assert done.exit_code == 0, done.output
    assert sorted(house.done) == ["kernel", "rack"]


@pytest.mark.parametrize("failing", ["up", "compile"])
def test_one_that_fails_ends_the_other_and_is_told_once(house: House, failing: str) -> None:
    def fails() -> None:
        raise HarnessError("no mirror")

    house.up, house.compile = (fails, never) if failing == "up" else (never, fails)
    code, told, error = house.quickstart()
    assert code == 1
    assert str(error) == "no mirror"
    assert house.done == []  # no campaign; the rack stays as it is, with its logs
    marks = sorted(line.split()[1] for line in told.splitlines() if "after" in line)
    assert marks == ["–", "✗"]


@pytest.mark.parametrize("was_up", [False, True])
def test_ctrl_c_ends_both_and_leaves_a_rack_only_where_there_was_one(
    house: House, ctrl_c: Callable[[], None], was_up: bool, tmp_path: Path
) -> None:
    if was_up:
        inventory = tmp_path / "state" / "rack" / "inventory" / "hosts.yml"
        inventory.parent.mkdir(parents=True)
        inventory.touch()
    met = threading.Barrier(2, timeout=60)

    def compiles() -> None:
        met.wait()
        ctrl_c()
        never()

    def boots() -> None:
        met.wait()
        never()

    house.up, house.compile = boots, compiles
    code, told, _ = house.quickstart()
    assert code == 130
    assert house.done == ([] if was_up else ["down"])
    assert told.count("(stopped after ") == 2
