"""Booting into a stack, as far as hosts without systemd and boot loader can show it; tests/rack has the rest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from netns_hosts import Machine

from harness.errors import CommandError, ProvisionError
from harness.hosts.model import Host
from harness.provision.activate import activate

RELEASE = os.uname().release


def write_menu(grub: Path, entries: dict[str, str], release: str = RELEASE) -> None:
    grub.mkdir(exist_ok=True)
    (grub / "grubenv").write_text("# GRUB Environment Block\n".ljust(1024, "#"), encoding="ascii")
    blocks = (
        f"# BEGIN nohype-{name}\nmenuentry x {{\n  linux /boot/vmlinuz-{release} {arguments}\n}}\n# END nohype-{name}\n"
        for name, arguments in entries.items()
    )
    (grub / "custom.cfg").write_text("".join(blocks), encoding="ascii")


def test_without_boot_entry(netns_host: Host) -> None:
    with pytest.raises(ProvisionError, match="there is no boot entry nohype-kvm") as caught:
        activate("kvm", netns_host)
    assert caught.value.fix == "nohype provision --stack kvm --limit neta"


def test_the_entry_is_chosen_and_a_host_that_runs_it_is_not_rebooted(
    netns_host: Host, machine_of: Callable[[Host], Machine]
) -> None:
    """The entry's arguments are those the kernel has. What ends it is that no systemd runs here."""
    grub = machine_of(netns_host).root / "boot/grub"
    running = Path("/proc/cmdline").read_text(encoding="ascii").split()
    write_menu(grub, {"kvm-tuned": "nohype.stack=kvm-tuned", "kvm": " ".join(running[:2])})
    told: list[str] = []
    with pytest.raises(CommandError, match=r"systemctl start multi-user\.target"):
        activate("kvm", netns_host, tell=told.append)
    assert told == ["waits for its services"]
    assert "saved_entry=nohype-kvm\n" in (grub / "grubenv").read_text(encoding="ascii")


def test_the_entrys_arguments_under_another_kernel_are_not_enough(
    netns_host: Host, machine_of: Callable[[Host], Machine]
) -> None:
    running = Path("/proc/cmdline").read_text(encoding="ascii").split()
    write_menu(machine_of(netns_host).root / "boot/grub", {"nohype": running[0]}, release=f"{RELEASE}-nohype")
    told: list[str] = []
    with pytest.raises(ProvisionError, match="it refuses to reboot"):
        activate("nohype", netns_host, tell=told.append, seconds=1)
    assert told == ["reboots into nohype"]


def test_a_host_that_cannot_reboot_says_so(netns_host: Host, machine_of: Callable[[Host], Machine]) -> None:
    write_menu(machine_of(netns_host).root / "boot/grub", {"kvm": "nohype.stack=kvm"})
    told: list[str] = []
    with pytest.raises(ProvisionError, match=r"it refuses to reboot: .*systemd"):
        activate("kvm", netns_host, tell=told.append, seconds=1)
    assert told == ["reboots into kvm"]
