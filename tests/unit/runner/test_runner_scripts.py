"""tests/run and tests/lint themselves: what they start, in which order, and what becomes of failures.

The programs they start are scripts here, which note that they were started.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from processes import bound_to_us

from harness.paths import repo_root
from harness.wait import until

# Notes its name, its arguments and its niceness; ends with the exit code in a file of that name, if there is one.
PROGRAM = """#!/bin/sh
line="${0##*/} $*"
echo "$line" >>started
echo "begin $line"; echo "end $line"
code=$(cat "code ${0##*/} ${1##*/}" 2>/dev/null)
exit "${code:-0}"
"""
# Builds for as long as nobody ends it.
BUILD = """#!/bin/sh
trap 'echo interrupted >>started; exit 130' INT
echo "nohype $* at $(nice)" >>started
while :; do sleep 0.05; done
"""
# Ends by SIGINT alone, as pytest does. A shell that waits for one long program may see the signal only at its end.
ENDLESS = """#!/bin/sh
trap 'echo pytest-ended >>started; exit 2' INT
echo pytest >>started
while :; do sleep 0.05; done
"""
CHECKS = ("mypy", "ansible-lint", "lint-imports", "ruff")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("pytest", "python", "nohype", *CHECKS):
        (programs / name).write_text(BUILD if name == "nohype" else PROGRAM)
        (programs / name).chmod(0o755)
    (tmp_path / "tests").mkdir()
    for name in ("run", "run_all.py", "lint"):
        shutil.copy(repo_root() / "tests" / name, tmp_path / "tests" / name)
    return tmp_path


def run(checkout: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv = bound_to_us([str(checkout / "tests" / script), *words])
    return subprocess.run(argv, cwd=checkout, capture_output=True, text=True, timeout=60, check=False)


def started(checkout: Path, *names: str) -> list[str]:
    lines = (checkout / "started").read_text().splitlines()
    return [line for line in lines if not names or line.split()[0] in names]


def test_arguments_go_to_one_pytest(checkout: Path) -> None:
    (checkout / "code pytest unit").write_text("5")
    done = run(checkout, "run", "tests/unit", "-k", "two words")
    assert done.returncode == 5
    assert started(checkout) == ["pytest tests/unit -k two words"]


def test_every_part_runs_whatever_fails_and_the_worst_exit_code_counts(checkout: Path) -> None:
    (checkout / "code ruff check").write_text("1")
    (checkout / "code pytest unit").write_text("3")
    (checkout / "code pytest rack").write_text("2")
    done = run(checkout, "run")
    assert done.returncode == 3
    side_by_side, rack = started(checkout, "pytest")
    assert side_by_side.startswith("pytest tests/unit tests/integration --durations=25 -n ")
    assert rack == "pytest tests/rack --durations=25"
    *_, lint, quick, slow = done.stdout.splitlines()
    assert lint.startswith("--- lint: FAILED, exit code 1, ")
    assert quick.startswith("--- unit and integration tests: FAILED, exit code 3, ")
    assert slow.startswith("--- rack tests: FAILED, exit code 2, ")


def test_all_is_well_where_nothing_fails(checkout: Path) -> None:
    done = run(checkout, "run")
    assert done.returncode == 0, done.stdout
    assert "FAILED" not in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="what the rack needs is built by root alone: sudo tests/run")
def test_what_the_rack_needs_is_built_beside_the_tests_with_what_they_leave(checkout: Path) -> None:
    (checkout / ".venv/bin/pytest").write_text("#!/bin/sh\nuntil grep -q nohype started; do sleep 0.05; done\n")
    done = run(checkout, "run")
    assert done.returncode == 0
    assert started(checkout, "nohype", "interrupted") == ["nohype rack build at 19", "interrupted"]
    assert "--- built beside the tests" in done.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_ends_its_tests_and_starts_no_others(checkout: Path, how: signal.Signals) -> None:
    (checkout / ".venv/bin/pytest").write_text(ENDLESS)
    argv = bound_to_us(["env", "--default-signal=INT", str(checkout / "tests/run")])
    with subprocess.Popen(argv, cwd=checkout, stdout=subprocess.DEVNULL, start_new_session=True) as runs:
        try:
            until(lambda: (checkout / "started").exists() and started(checkout, "pytest"), seconds=60, what="pytest")
            if how is signal.SIGINT:
                os.killpg(runs.pid, how)  # as a terminal does
            else:
                runs.send_signal(how)
            assert runs.wait(60) == 128 + how
        finally:
            runs.kill()
    assert started(checkout, "pytest", "pytest-ended") == ["pytest", "pytest-ended"]


@pytest.mark.parametrize("failing", ["mypy ", "ansible-lint --offline", "lint-imports --no-logo", "ruff format"])
def test_one_failing_check_fails_lint_and_hides_no_other(checkout: Path, failing: str) -> None:
    assert run(checkout, "lint").returncode == 0
    (checkout / f"code {failing}").write_text("2")
    done = run(checkout, "lint")
    assert done.returncode == 1
    shown = done.stdout.split("--- ")[1:]
    assert len(shown) == 5
    for check in shown:  # each whole, under its own name
        head, begin, end = check.splitlines()
        line = head.removeprefix(".venv/bin/").removeprefix(f"{checkout}/.venv/bin/")
        assert (begin.strip(), end.strip()) == (f"begin {line}", f"end {line}")
