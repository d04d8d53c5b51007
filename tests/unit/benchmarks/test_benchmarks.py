"""The benchmarks' own arithmetic; what they measure takes a host."""

import json
import runpy
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from harness.errors import HarnessError
from harness.paths import repo_root
from harness.results.model import ExitCount, Fidelity, Status, TrialRecord

AT = datetime(2026, 1, 1, tzinfo=UTC)
TRIAL = TrialRecord(
    id="t",
    campaign_id="c",
    block_id="b",
    host="h",
    stack="kvm",
    workload="cpu",
    repeat=0,
    order=0,
    status=Status.OK,
    failure="",
    guest="g",
    boot_id="b",
    fingerprint="f",
    fidelity=Fidelity.EMULATED_ICOUNT,
    started_at=AT,
    ended_at=AT,
    seconds=10.0,
    overhead_seconds=0.0,
    metrics=(),
    exits=(ExitCount(0, "hlt", 30), ExitCount(1, "hlt", 10), ExitCount(0, "msr", 5)),
    exits_dropped=0,
    artifacts="",
)


@pytest.fixture(scope="module")
def repeated():
    return runpy.run_path(str(repo_root() / "benchmarks" / "repeated_exits.py"))


def test_repeated_exits_are_means_of_the_trials_that_succeeded(repeated):
    quiet = replace(TRIAL, id="u", exits=(ExitCount(0, "hlt", 20),))
    failed = replace(TRIAL, id="v", status=Status.FAILED, exits=(ExitCount(0, "hlt", 10**9),))
    assert repeated["counts"]([TRIAL, quiet, failed]) == {("cpu", "kvm", "hlt"): 30, ("cpu", "kvm", "msr"): 2.5}


def test_repeated_exits_of_both_runs_stand_side_by_side(repeated, capsys):
    one = {("cpu", "kvm", "hlt"): 40.0, ("cpu", "kvm", "msr"): 5.0}
    repeated["show"](one, {("cpu", "kvm", "hlt"): 44.0, ("cpu", "kvm", "npf"): 1.0}, as_json=False)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["cpu", "kvm", "all", "45.0", "45.0", "1.0000×"] in rows
    assert ["cpu", "kvm", "hlt", "40.0", "44.0", "1.1000×"] in rows
    assert ["cpu", "kvm", "npf", "0", "1.00", "–"] in rows
    assert ["cpu", "kvm", "msr", "5.00", "0", "0.0000×"] in rows
    repeated["show"](one, one, as_json=True)
    assert json.loads(capsys.readouterr().out)[0] == {
        **{"workload": "cpu", "stack": "kvm", "reason": "hlt"},
        **{"first": 40.0, "second": 40.0},
    }


# Lines of traces of the rack's host, with the header; the times are made rounder.
TRACE = """\
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
       CPU 0/KVM-270     [002] .....    29.904000: kvm_hypercall: nr 0x4e48 a0 0x10700 a1 0x80f a2 0x0 a3 0x1ff
     kworker/0:2-107     [000] .....    29.975296: cpuhp_exit:  cpu: 0002  state:   1 step:   2 ret: 0
       CPU 0/KVM-270     [000] .....    29.984000: nohype_disengage: vcpu 0 has cpu 2, its VM 3 direct interrupts
     nohype-host-284     [000] .....    30.000000: ask: (kvm_nohype_vm_ioctl+0x4/0x480) ioctl=44770
 qemu-system-x86-2798    [001] .....    30.000100: done: (kvm_vm_ioctl+0x3e/0x1030 <- kvm_nohype_vm_ioctl)
     nohype-host-284     [000] .....    30.000250: done: (kvm_vm_ioctl+0x3e/0x1030 <- kvm_nohype_vm_ioctl)
         cpuhp/2-30      [002] .....    30.040000: cpuhp_exit:  cpu: 0002  state: 235 step: 235 ret: 0
       CPU 0/KVM-270     [001] .....    30.043000: cpuhp_exit:  cpu: 0002  state: 236 step:  86 ret: 0
         cpuhp/3-35      [003] .....    30.050000: cpuhp_exit:  cpu: 0003  state: 235 step: 235 ret: 0
"""


def test_a_guests_times_come_from_its_own_events():
    latency = runpy.run_path(str(repo_root() / "benchmarks" / "nohype_latency.py"))
    found = latency["times"](latency["parse"](TRACE))
    assert (found.leaving, found.killing, found.reclaiming) == pytest.approx((80, 0.25, 43))
    with pytest.raises(HarnessError, match="lacks an event"):
        latency["times"](latency["parse"](TRACE.replace("nohype_disengage", "else")))


@pytest.mark.parametrize("name", ["counting_cost", "nohype_latency", "repeated_exits"])
def test_wrong_input_is_told_in_a_sentence(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path))
    monkeypatch.setattr("sys.argv", [name, "nosuch", "-i", str(tmp_path / "none.yml")])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(repo_root() / "benchmarks" / f"{name}.py"), run_name="__main__")
    assert left.value.code == 2
    assert "error: " in capsys.readouterr().err
