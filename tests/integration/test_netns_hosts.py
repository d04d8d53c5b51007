"""The test hosts themselves: real sshd, real sudo, nothing left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from netns_hosts import Machine

from harness.hosts.model import Host


def ssh(host: Host, *command: str) -> subprocess.CompletedProcess[str]:
    argv = [
        *(
            "ssh",
            "-o",
            f"UserKnownHostsFile={host.known_hosts}",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "BatchMode=yes",
        ),
        *("-i", str(host.private_key), f"{host.user}@{host.address}", *command),
    ]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


def test_sshd_sudo_and_own_files(netns_host: Host, machine_of: Callable[[Host], Machine]) -> None:
    done = ssh(netns_host, "sudo -n touch /etc/mark && hostname && id -un")
    assert (done.returncode, done.stdout.split()) == (0, ["neta", "nohype"]), done.stderr
    assert (machine_of(netns_host).root / "etc/mark").exists()


def test_hosts_cannot_touch_the_machine(netns_host: Host) -> None:
    done = ssh(netns_host, "echo 1 | sudo -n tee /proc/sys/kernel/printk /sys/kernel/mm/ksm/run")
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr


def test_a_stopped_host_leaves_no_interface(
    make_host: Callable[..., Host], machine_of: Callable[[Host], Machine]
) -> None:
    host = make_host("gone")
    link = f"nht{host.address.rsplit('.', 1)[1]}"
    assert subprocess.run(["ip", "link", "show", link], capture_output=True, check=False).returncode == 0
    machine_of(host).stop()
    assert ssh(host, "true").returncode == 255
    assert subprocess.run(["ip", "link", "show", link], capture_output=True, check=False).returncode != 0


def test_plain_user_has_no_sudo(make_host: Callable[..., Host]) -> None:
    done = ssh(make_host("nosudo", user="plain"), "sudo -n true")
    assert done.returncode == 1
    assert "password is required" in done.stderr
