"""The script by which guests leave their hypervisor, on folders in place of a guest's. Real guests: tests/rack."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.guests.build import LEAVE

# This machine's own programs under the name that the script calls them by; `ip` only tells what it was asked.
BUSYBOX = """\
#!/bin/sh
case $1 in
  ip) echo "$@" >>"$ROOT/asked" && cat "$ROOT/proc/sys/net/ipv6/conf/all/disable_ipv6" >>"$ROOT/asked" ;;
  sleep) echo "$@" >>"$ROOT/asked" ;;
  *) exec "$@" ;;
esac
"""


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """Files of a guest with a network card and a loopback interface."""
    for path, text in {
        "sys/kernel/nohype/disengage": "engaged\n",
        "sys/class/net/eth0/type": "1\n",
        "sys/class/net/lo/type": "772\n",
        "proc/sys/net/ipv6/conf/all/disable_ipv6": "0\n",
        "dev/kmsg": "",
        "leave": LEAVE,
        "busybox": BUSYBOX,
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "busybox").chmod(0o755)
    return tmp_path


def _leave(guest: Path) -> list[str]:
    """What it said in the kernel's log."""
    argv = ["sh", str(guest / "leave"), str(guest)]
    environment = {**os.environ, "BUSYBOX": str(guest / "busybox"), "ROOT": str(guest)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout + done.stderr == ""  # a word on the serial line would end the guest
    return (guest / "dev/kmsg").read_text().splitlines()


SAID = "<3>ram-init: leaves its hypervisor; nothing more will be said here"


def test_a_guest_leaves_with_its_network_card_up_and_silent(guest: Path) -> None:
    assert _leave(guest) == [SAID]
    assert (guest / "sys/kernel/nohype/disengage").read_text() == "1\n"
    assert (guest / "asked").read_text() == "ip link set eth0 up\n1\n"  # without IPv6 meanwhile
    assert (guest / "proc/sys/net/ipv6/conf/all/disable_ipv6").read_text() == "0\n"


def test_a_kernel_without_ipv6_is_none_the_worse(guest: Path) -> None:
    (guest / "proc/sys/net/ipv6/conf/all/disable_ipv6").unlink()
    (guest / "busybox").write_text(BUSYBOX.replace("cat", ": #"))
    (guest / "sys/class/net/eth0/type").unlink()
    assert _leave(guest) == [SAID]
    assert (guest / "sys/kernel/nohype/disengage").read_text() == "1\n"


def test_one_that_its_host_refuses_says_so_and_goes_on(guest: Path) -> None:
    (guest / "sys/kernel/nohype/disengage").unlink()
    (guest / "sys/kernel/nohype/disengage").symlink_to("/dev/full")
    first, second = _leave(guest)
    assert first == SAID
    assert second.startswith("<3>ram-init: carries on with its hypervisor, for it could not leave it: ")
    assert "I/O error" in second or "No space left" in second  # as this machine's sh has it
    assert "sleep" not in (guest / "asked").read_text()


def test_one_whose_cpus_are_not_all_up_tries_three_times(guest: Path) -> None:
    """An sh whose writing fails as with EAGAIN stands for the kernel."""
    failing = '(echo "sh: write error: Resource temporarily unavailable" >&2 && false)'
    (guest / "leave").write_text(LEAVE.replace('(echo 1 >"$disengage")', failing))
    assert len(_leave(guest)) == 2
    assert (guest / "asked").read_text().count("sleep 1\n") == 3
