"""`nohype provision`: what it refuses before anything is started, and what its progress looks like."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import provision as room
from harness.cli.progress import Steps
from harness.errors import InputError, UnavailableError
from harness.provision.model import TaskEvent

EXAMPLE = Path(__file__).parents[3] / "inventory" / "examples" / "bare-metal.yml"


def refusal(*words: str) -> BaseException | None:
    app = typer.Typer()
    app.command()(room.provision)
    return CliRunner().invoke(app, ["--inventory", str(EXAMPLE), *words]).exception


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NOHYPE_CACHE", str(tmp_path / "cache"))
    stack = refusal("--stack", "kvm-tunned")
    assert isinstance(stack, InputError)
    assert "did you mean 'kvm-tuned'" in str(stack)
    second = refusal("--stack", "kvm", "--stack", "xen-tunned")
    assert isinstance(second, InputError)
    assert "did you mean 'xen-tuned'" in str(second)
    for words in ((), ("--stack", "kvm", "--all-stacks")):
        unclear = refusal(*words)
        assert isinstance(unclear, InputError)
        assert "--stack with one of kvm, kvm-tuned, nohype" in unclear.fix
    host = refusal("--stack", "kvm", "--limit", "sever1")
    assert isinstance(host, InputError)
    assert "did you mean 'server1'" in str(host)
    image = refusal("--stack", "kvm")
    assert isinstance(image, UnavailableError)
    assert "nohype image build" in str(image)
    assert isinstance(refusal("--all-stacks"), UnavailableError)
    assert not (tmp_path / "state").exists()


TASKS = (
    ("Validating arguments against arg spec 'main'", "start", 0.0),
    ("Validating arguments against arg spec 'main'", "ok", 0.1),
    ("Create [bold]folders", "start", 0.0),
    ("Create [bold]folders", "changed", 2.5),
    ("Reboot", "skipped", 0.1),
    ("Send the files", "failed", 1.0),
)


def provisioned(text: io.StringIO, *, verbose: bool) -> list[str]:
    """What the running step's detail was after each event of a run."""
    console = Console(file=text, width=120)
    details = []
    with Steps(console).shown() as steps, steps.running("provision stack kvm on rack1") as step:
        progress = room.Progress(console, step, verbose=verbose)
        for task, outcome, seconds in TASKS:
            progress.show(TaskEvent("rack1", task, "base", outcome, "", seconds))
            details.append(step.detail)
    return details


def test_tasks_are_folded_into_one_line() -> None:
    text = io.StringIO()
    details = provisioned(text, verbose=False)
    assert details[2] == "rack1, task 2: base: Create [bold]folders"
    assert details[3] == ""
    (line,) = text.getvalue().splitlines()
    assert line.startswith("✓ provision stack kvm on rack1 (0.")


def test_verbose_prints_a_line_for_each_task() -> None:
    text = io.StringIO()
    provisioned(text, verbose=True)
    *tasks, _step = text.getvalue().splitlines()
    lines = [line.partition(" s ")[2].rstrip() for line in tasks]
    assert lines == [
        "~ rack1: base: Create [bold]folders changed, 2.5 s",
        "✗ rack1: base: Send the files failed, 1.0 s",
    ]
