"""What a block ran on; and guests without hypervisor: one killed in a workload is the reason of its trial's failure."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from harness.campaign.lab import HostBench
from harness.campaign.prepare import of_campaign
from harness.errors import GuestError
from harness.guests.image import GuestImage
from harness.guests.model import Disengagement, Engagement, Guest
from harness.hosts.model import Capabilities, Host, PhysicalFunction, VirtualFunction
from harness.hosts.remote import CommandResult
from harness.kernel.image import KernelImage
from harness.paths import repo_root
from harness.results.model import Fidelity
from harness.workloads.spec import load_workloads

HOST = Host("rack1", "127.0.0.1", 22, "nohype", Path("/k"), Path("/kh"), Fidelity.EMULATED)
IMAGE = GuestImage("abc", Path("/i"), "6.12", ("ssh-ed25519 AAAA guest",), Path("/id"))
CLOCK = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
KERNEL = KernelImage("k1", Path("/k"), "6.12.1-nohype", "6.12.1-1", ("0001-lend.patch", "0002-run.patch"))
PREPARATION = of_campaign(Path("/inventory"), IMAGE, KERNEL, lambda: False)
VF = VirtualFunction("0000:02:10.0", 0, "vfio-pci", 5, "02:00:00:00:00:01", "somebody")
PF = PhysicalFunction("0000:02:00.0", "igb", "data0", "1.0", 7, (VF,))
CREATED = Guest(
    *("g1", "nohype", "running", "10.79.1.10", "", "0000:02:10.0", "abc", (11,), (2,), 512, 1.0, "u", "/c"),
    engagement=Engagement("engaged"),
)
KILLED = replace(CREATED, engagement=Engagement("killed", "", "exit", 0, "npf", "0x4", "0xfee00000", "0x1000"))


class Session:
    """A host whose commands run here, and whose guest is in the state that it is given."""

    host_name = "rack1"

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def agent(self, *_: str) -> object:
        return [asdict(self._guest)]

    def run(self, argv: Sequence[str], **_: object) -> CommandResult:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return CommandResult(tuple(argv), done.returncode, done.stdout, done.stderr, 0.0)

    def jump(self, *_: object, **__: object) -> object:
        raise GuestError("the guest does not answer: no SSH connection: timed out", where="rack1/10.79.1.10")


def _run(workload: str, guest: Guest, now: Guest, folder: Path) -> None:
    bench = HostBench(HOST, Session(now), IMAGE, KERNEL, PREPARATION)  # type: ignore[arg-type]
    bench.run(load_workloads(repo_root() / "workloads")[workload], guest, 0, folder, lambda: None)


@pytest.mark.parametrize("workload", ["idle", "cpu"])  # of the host, which goes well; of the guest, which is silent
def test_a_guest_killed_during_a_workload_is_told_with_its_exit(workload: str, tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="'g1' killed: npf at RIP 0x1000"):
        _run(workload, CREATED, KILLED, tmp_path)


def test_other_failures_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.guests.lifecycle.LOGIN_SECONDS", 0.2)
    ordinary = replace(CREATED, engagement=Engagement())
    disengaged = replace(CREATED, engagement=Engagement("disengaged"))
    for guest, now in ((ordinary, ordinary), (CREATED, disengaged)):
        with pytest.raises(GuestError, match="the guest does not answer"):
            _run("cpu", guest, now, tmp_path)


def test_a_guest_that_lives_on_has_run_its_workload(tmp_path: Path) -> None:
    _run("idle", CREATED, replace(CREATED, engagement=Engagement("disengaged")), tmp_path)


class Booted:
    """A host that was booted into a stack, as its nohype-host tells of it."""

    host_name = "rack1"

    def __init__(self, stack: str, kernel: str, arguments: str) -> None:
        pages = {"2048": 320}
        able = Capabilities(
            "svm", True, 1, True, 4, (2, 3), 3072, pages, pages, (PF,), kernel, arguments, "boot", stack
        )
        self._answers = {"facts": asdict(able), "fingerprint": {"kernel.release": kernel, "kernel.cmdline": arguments}}

    def agent(self, question: str) -> object:
        return self._answers[question]


def _facts(stack: str, kernel: str, arguments: str) -> dict[str, str]:
    bench = HostBench(HOST, Booted(stack, kernel, arguments), IMAGE, KERNEL, PREPARATION)  # type: ignore[arg-type]
    return dict(bench.fingerprint(1, 512).facts)


def test_guests_of_stock_stacks_have_their_images_kernel() -> None:
    facts = _facts("kvm", "6.12.1-amd64", "nohype.stack=kvm quiet")
    assert facts["guest.kernel"] == IMAGE.kernel_release
    assert facts["kernel.release"] == "6.12.1-amd64"
    assert not {"kernel.digest", "kernel.source", "kernel.patches"} & set(facts)


def test_guests_without_hypervisor_have_their_hosts_kernel_which_is_told_with_its_patches() -> None:
    facts = _facts("nohype", KERNEL.release, "nohype.stack=nohype nohype.kernel=k1 quiet")
    assert facts["guest.kernel"] == KERNEL.release
    assert facts["guest.image"] == IMAGE.digest
    assert facts["kernel.digest"] == "k1"
    assert facts["kernel.source"] == "6.12.1-1"
    assert facts["kernel.patches"] == "0001-lend.patch 0002-run.patch"


def test_what_guests_are_given_is_told() -> None:
    given = {stack: _facts(stack, "6.12.1", f"nohype.stack={stack}") for stack in ("kvm", "kvm-tuned", "nohype")}
    for facts in given.values():
        assert (facts["guest.vcpus"], facts["guest.memory_mib"]) == ("1", "512")
        assert not {"guest.name", "guest.stack"} & set(facts)
    assert {stack: (facts["guest.nic"] == "vf", facts["guest.cpus"]) for stack, facts in given.items()} == {
        **{"kvm": (False, "none"), "kvm-tuned": (True, "2"), "nohype": (True, "2")}
    }
    assert {stack for stack, facts in given.items() if facts["guest.disengage"] == "yes"} == {"nohype"}
    assert {stack: facts["guest.icr"] for stack, facts in given.items()} == {
        **{"kvm": "none", "kvm-tuned": "none", "nohype": "closed"}
    }


def test_an_open_icr_is_told() -> None:
    host = Booted("nohype", KERNEL.release, "nohype.stack=nohype")
    bench = HostBench(HOST, host, IMAGE, KERNEL, PREPARATION, Disengagement("open"))  # type: ignore[arg-type]
    assert dict(bench.fingerprint(2, 512).facts)["guest.icr"] == "open"


def test_a_guest_is_asked_for_its_clock_and_its_mitigations() -> None:
    session = Session(CREATED)
    session.jump = lambda *_, **__: session  # type: ignore[method-assign]  # its inside is this machine
    told = HostBench(HOST, session, IMAGE, KERNEL, PREPARATION).ask(CREATED)  # type: ignore[arg-type]
    assert told["guest.clocksource"] == CLOCK.read_text().strip()
    assert told["guest.mitigations.meltdown"]
    assert told["guest.kernel"] == os.uname().release


def test_a_guest_that_was_killed_before_it_could_be_asked_is_told_so() -> None:
    with pytest.raises(GuestError, match="'g1' killed: npf"):
        HostBench(HOST, Session(KILLED), IMAGE, KERNEL, PREPARATION).ask(CREATED)  # type: ignore[arg-type]


def test_patches_are_not_told_of_a_kernel_that_was_not_built_here() -> None:
    packaged = _facts("nohype", "6.12.1-full-nohype", "nohype.stack=nohype quiet")
    assert packaged["guest.kernel"] == "6.12.1-full-nohype"
    assert "kernel.digest" not in packaged
    other = _facts("nohype", KERNEL.release, "nohype.stack=nohype nohype.kernel=k2")
    assert other["kernel.digest"] == "k2"
    assert "kernel.patches" not in other


def test_two_builds_of_one_release_have_different_fingerprints() -> None:
    one, two = (_facts("nohype", KERNEL.release, f"nohype.kernel={digest}") for digest in ("k1", "k2"))
    assert {name for name in one | two if one.get(name) != two.get(name)} == {
        *("kernel.cmdline", "kernel.digest", "kernel.source", "kernel.patches")
    }
