"""`nohype provision`: what it refuses before anything is started, and what its progress looks like."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import provision as room
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


def test_progress_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    console = Console(file=text, width=120)
    monkeypatch.setattr(room, "err", console)
    status = console.status("...")
    progress = room.Progress(status)
    for task, outcome, seconds in (
        ("Validating arguments against arg spec 'main'", "ok", 0.1),
        ("Create [bold]folders", "start", 0.0),
        ("Create [bold]folders", "changed", 2.5),
        ("Reboot", "skipped", 0.1),
        ("Send the files", "failed", 1.0),
    ):
        progress.show(TaskEvent("rack1", task, "base", outcome, "", seconds))
    lines = [line.partition(" s ")[2].rstrip() for line in text.getvalue().splitlines()]
    assert lines == [
        "~ rack1: base: Create [bold]folders changed, 2.5 s",
        "✗ rack1: base: Send the files failed, 1.0 s",
    ]
