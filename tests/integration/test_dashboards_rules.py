"""The rules' own tests, by the real promtool; and that those tests notice when a rule is broken."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from harness.paths import repo_root
from harness.telemetry.catalogue import GROUPS
from harness.toolbox.root import toolbox

FOLDER = repo_root() / "dashboards" / "rules"
RULES = (FOLDER / "nohype.yml").read_text(encoding="utf-8")
TESTS = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*_test.yml")}
BROKEN = (
    ("sum by (host, stack, guest, reason) (rate", "sum by (host, stack, guest, vcpu, reason) (rate"),
    ("sum by (host, stack, guest) (host_stack", "max by (host, stack, guest) (host_stack"),
    ('state="killed"', 'state="disengaged"'),
    ('unless on (host, stack, guest) nohype_guest_killed{cause=~"deadline|refused"} == 1', ""),
    ('(nohype_guest_killed{cause=~"deadline|refused"}) == 1', '(nohype_guest_killed{cause="deadline"}) == 1'),
    ("(increase(nohype_vm_exits_total[4m]))", "(increase(nohype_vm_exits_total[5m]))"),
    ("(increase(nohype_vm_exits_total[4m])) > 0", "(increase(nohype_vm_exits_total[4m])) > 1000"),
    ('and on (host, stack, guest) min_over_time(nohype_guest_engagement{state="disengaged"}[5m]) == 1', ""),
    ('and on (host, stack, guest) (nohype_guest_engagement{state="disengaged"} offset 5m) == 1', ""),
    ("nohype_vm_exits_dropped_total[5m])) > 0", "nohype_vm_exits_dropped_total[5m])) >= 0"),
    ("(nohype_host_lost_cores) > 0", "(nohype_host_lost_cores) >= 0"),
    ('up{job="nohype"} == 0', "up == 0"),
    ("for: 10m", "for: 1m"),
    ("or nohype_store_up == 0", ""),
    ("for: 5m", "for: 20m"),
    (") < 86400", ") < 864000"),
    ("[1d]", "[1h]"),
    ("(nohype_nightly_missed) > 0", "(nohype_nightly_missed) > 1"),
    ("> 36 * 3600", "> 48 * 3600"),
    ("(nohype_nightly_regressions) > 0", "(nohype_nightly_regressions) >= 0"),
)


def promtool(folder: Path, *words: str) -> str:
    """What it says. Whether all is well it says itself."""
    if os.geteuid() != 0:
        pytest.skip("the toolbox's promtool needs root: sudo tests/run")
    argv = toolbox().command(["promtool", *words], binds=[folder])
    out = subprocess.STDOUT
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=out, text=True, check=False, timeout=300).stdout


def failures(folder: Path, versions: dict[str, str]) -> set[str]:
    """The versions of the rules that fail their tests, of all in one run."""
    files = []
    for name, rules in versions.items():
        (folder / name).mkdir()
        (folder / name / "nohype.yml").write_text(rules, encoding="utf-8")
        for test, text in TESTS.items():
            (folder / name / test).write_text(text, encoding="utf-8")
            files.append(str(folder / name / test))
    sections = promtool(folder, "test", "rules", *files).split("Unit Testing:  ")[1:]
    assert len(sections) == len(files)
    for section in sections:
        assert "SUCCESS" in section or "FAILED" in section, section
    return {Path(section.splitlines()[0]).parent.name for section in sections if "FAILED" in section}


def test_the_rules_pass_their_tests(tmp_path: Path) -> None:
    assert failures(tmp_path, {"right": RULES}) == set()
    checked = promtool(tmp_path, "check", "rules", "--lint-fatal", str(tmp_path / "right/nohype.yml"))
    assert "SUCCESS" in checked, checked


def test_broken_rules_are_noticed(tmp_path: Path) -> None:
    versions = {}
    for number, (right, wrong) in enumerate(BROKEN):
        assert RULES.count(right) == 1, right
        versions[str(number)] = RULES.replace(right, wrong)
    unnoticed = versions.keys() - failures(tmp_path, versions)
    assert [BROKEN[int(number)] for number in unnoticed] == []


def test_every_rule_is_tested() -> None:
    for name in re.findall(r"- (?:alert|record): (\S+)", RULES):
        assert any(name in text for text in TESTS.values())


def test_every_metric_is_in_the_catalogue() -> None:
    known = {metric.name for group in GROUPS for metric in group.metrics}
    expressions = re.sub(r"(?m)^ *(#|summary:|description:|- record:|- alert:).*$", "", RULES)
    assert set(re.findall(r"(?<![:\w])nohype_\w+", expressions)) <= known


def test_metrics_follow_the_naming_conventions(tmp_path: Path) -> None:
    """promtool check metrics reads what an exporter serves."""
    text = "".join(
        f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n{metric.name} 1\n"
        for group in GROUPS
        for metric in group.metrics
    )
    if os.geteuid() != 0:
        pytest.skip("the toolbox's promtool needs root: sudo tests/run")
    argv = toolbox().command(["promtool", "check", "metrics"])
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
