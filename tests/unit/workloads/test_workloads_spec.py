"""Wrong workload files: what is said, and for which line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.workloads.spec import load_workload, load_workloads

GOOD = """\
name: good
title: Good
description: Does good.
command: [good, "--time={seconds}"]
metrics:
  - name: figure
    unit: s
    direction: lower
    parse: {regex: 'took (\\d+)'}
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("name: good", "name: better", 1, "name: 'better' in a file called 'good.yml': they must agree"),
        ("title: Good", "titel: Good", 2, "titel: unknown key; did you mean 'title'?"),
        ("title: Good\n", "", 1, "title: this key is required"),
        ("command:", "comand:", 4, "comand: unknown key; did you mean 'command'?"),
        ('command: [good, "--time={seconds}"]\n', "", 1, "file: command: this key is required (unless runs: boot)"),
        (
            '[good, "--time={seconds}"]',
            '[good, "--time={second}"]',
            4,
            "command: unknown placeholder {second}; did you mean 'seconds'?; "
            "known: {seconds}, {vcpus}, {gateway}, {port}",
        ),
        ('[good, "--time={seconds}"]', "good --time=5", 4, "command: must be a list such as [a, b]"),
        ('"--time={seconds}"', '"{"', 4, "command: '{': Single '{' encountered in format string; write {{ and }} for"),
        (
            "direction: lower",
            "direction: up",
            8,
            "metrics[0].direction: Input should be 'higher', 'lower' or 'neither'",
        ),
        ("parse: {regex: 'took (\\d+)'}", "parse: {}", 9, "metrics[0].parse: give either json or regex"),
        ("'took (\\d+)'", "'took'", 9, "metrics[0].parse.regex: must have one group, around the figure; it has 0"),
        ("'took (\\d+)'", "'took ('", 9, "metrics[0].parse.regex: not a regular expression: missing ), unterminated"),
        ("metrics:", "seconds: 1.5\nmetrics:", 5, "seconds: Input should be a valid integer"),
        ("metrics:", "seconds: ten\nmetrics:", 5, "seconds: Input should be a valid integer"),
        ("metrics:", "runs: everywhere\nmetrics:", 5, "runs: Input should be 'guest', 'host' or 'boot'"),
        ("metrics:", "server: [good]\nmetrics:", 1, "file: server: needs.network must be true for a workload with a"),
        ("metrics:", "needs: {vcpu: 1}\nmetrics:", 5, "needs.vcpu: unknown key; did you mean 'vcpus'?"),
        ("metrics:", "title: Again\nmetrics:", 5, "key 'title' is given twice"),
    ],
)
def test_wrong_files(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    path = tmp_path / "good.yml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        load_workload(path)
    assert f"{path}:{line}: {message}" in str(error.value)


def test_boots_have_no_command_and_only_the_figures_there_are(tmp_path: Path) -> None:
    path = tmp_path / "start.yml"
    head = "name: start\ntitle: S\ndescription: D\nruns: boot\n"
    path.write_text(head + "command: [true]\n")
    with pytest.raises(InputError, match="command"):
        load_workload(path)
    path.write_text(head + "metrics:\n  - {name: a, unit: s, direction: lower, parse: {json: start_to_login}}\n")
    with pytest.raises(InputError) as error:
        load_workload(path)
    assert error.value.what == "file: metrics: a: of a boot there are, by json: start_to_ssh, start, kernel_to_ssh"


def test_the_repositorys_own(tmp_path: Path) -> None:
    found = load_workloads()
    assert set(found) == {"boot", "cpu", "idle", "known-exits", "memory", "network-latency", "network-throughput"}
    assert found["idle"].runs == "host"
    with pytest.raises(InputError, match="there are no workload files"):
        load_workloads(tmp_path)
