"""Which stacks a host is provisioned for, with what, and what happens where one of them cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.campaign.prepare import Preparation
from harness.errors import HostUnreachableError, ProvisionError
from harness.hosts.model import Host
from harness.provision.model import START, OnEvent, TaskEvent
from harness.results.model import Fidelity

HOST = Host("rack1", "127.0.0.1", 22, "nohype", Path("/k"), Path("/kh"), Fidelity.EMULATED)
STACKS = ("kvm", "kvm-tuned", "nohype")


class Installer:
    """Hosts that lack what some stacks need: Ansible fails where one of those is among what it is to bring."""

    def __init__(self, *lacking: str) -> None:
        self.lacking = lacking
        self.asked: list[tuple[str, ...]] = []
        self.cancelled = False

    def __call__(self, stacks: Sequence[str], host: Host, folder: Path, on_event: OnEvent) -> None:
        self.asked.append(tuple(stacks))
        on_event(TaskEvent(host.name, "Look", "base", START, "", 0.0))
        for stack in stacks:
            if stack in self.lacking:
                raise ProvisionError(f"{stack} has no cores\nat all", where=host.name)

    def preparation(self) -> Preparation:
        return Preparation(lambda stack, host: f"{stack} on {host.name}", self, lambda: self.cancelled)


class Told:
    """What was told is being done, with its details."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def __call__(self, text: str, detail: str = "") -> None:
        self.said.append((text, detail))


def test_what_is_missing_comes_in_one_run() -> None:
    installer, told = Installer(), Told()
    installer.preparation().install("kvm", STACKS, HOST, Path("/logs"), told)
    assert installer.asked == [STACKS]
    doing = "provision kvm, kvm-tuned, nohype"
    assert told.said == [(doing, ""), (doing, "task 1: base: Look")]


def test_one_stack_that_cannot_be_provisioned_fails_alone() -> None:
    installer, told = Installer("kvm-tuned"), Told()
    preparation = installer.preparation()
    preparation.install("kvm", STACKS, HOST, Path("/logs"), told)
    assert installer.asked == [STACKS, ("kvm",)]
    assert ("provision each stack alone, together they failed: kvm-tuned has no cores", "") in told.said
    with pytest.raises(ProvisionError, match="kvm-tuned has no cores"):
        preparation.install("kvm-tuned", ("kvm-tuned", "nohype"), HOST, Path("/logs"), told)
    preparation.install("nohype", ("kvm-tuned", "nohype"), HOST, Path("/logs"), told)
    assert installer.asked[2:] == [("kvm-tuned",), ("nohype",)]  # together it was tried once
    other = replace(HOST, name="rack2")
    with pytest.raises(ProvisionError):
        preparation.install("kvm-tuned", STACKS, other, Path("/logs"), told)
    assert installer.asked[4:] == [STACKS, ("kvm-tuned",)]


def test_a_stack_alone_is_not_tried_twice() -> None:
    installer = Installer("nohype")
    with pytest.raises(ProvisionError, match="nohype has no cores"):
        installer.preparation().install("nohype", ("nohype",), HOST, Path("/logs"), Told())
    assert installer.asked == [("nohype",)]


def test_a_cancelled_run_is_not_tried_again() -> None:
    installer = Installer("nohype")
    installer.cancelled = True
    with pytest.raises(ProvisionError):
        installer.preparation().install("kvm", STACKS, HOST, Path("/logs"), Told())
    assert installer.asked == [STACKS]


def test_a_host_that_is_lost_is_not_tried_again() -> None:
    asked = []

    def install(stacks: Sequence[str], host: Host, folder: Path, on_event: OnEvent) -> None:
        asked.append(tuple(stacks))
        raise HostUnreachableError("gone", where=host.name)

    preparation = Preparation(lambda stack, host: "", install, lambda: False)
    for _ in range(2):
        with pytest.raises(HostUnreachableError):
            preparation.install("kvm", STACKS, HOST, Path("/logs"), Told())
    assert asked == [STACKS, STACKS]
