"""Look at the control node, the machine the harness itself runs on."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from harness.hosts.preflight import Finding, Level
from harness.paths import cache_dir, state_dir
from harness.toolbox.debian import KEYRING

GIB = 2**30
MIN_CACHE_FREE_GIB = 6  # toolbox, host and guest images with their scratch copies: 4 GiB seen
MIN_STATE_FREE_GIB = 2  # disk overlays of rack hosts, results
MIN_MEMORY_GIB = 6  # an emulated host of 3 GiB, image building, and the rest of the machine

# What ./bootstrap installs: Debian package -> a program of it. tests/unit/hosts/test_hosts_preflight.py compares.
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "openssh-client": "ssh",
    "ipmitool": "ipmitool",
    "iproute2": "ip",
    "util-linux": "unshare",
    "mount": "mount",
    "git": "git",
    "python3": "python3",
    "patch": "patch",
}
# Packages of ./bootstrap that bring no program of their own: a file of each.
FILES = {
    "debian-archive-keyring": KEYRING,
    "ca-certificates": Path("/etc/ssl/certs/ca-certificates.crt"),
    "python3-venv": Path("/usr/lib/python3/dist-packages"),
}


def check_control_node() -> tuple[Finding, ...]:
    """What is missing here; changes nothing."""
    where = platform.node() or "control node"
    found = [_python(where), _root(where), *_packages(where), _ansible(where)]
    found.append(_room("cache", cache_dir(), MIN_CACHE_FREE_GIB))
    found.append(_room("state", state_dir(), MIN_STATE_FREE_GIB))
    found.append(_memory(where, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    return tuple(found)


def existing(folder: Path) -> Path:
    """`folder`, or the nearest one above it that is there: whose file system it will be in."""
    while not folder.exists():
        folder = folder.parent
    return folder


def _python(where: str) -> Finding:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] < (3, 14) and platform.machine() == "x86_64":
        return Finding(Level.OK, f"Python {version} on x86_64", where)
    what = f"Python {version} on {platform.machine()}, needed: 3.11 to 3.13 on x86_64"
    return Finding(Level.FAIL, what, where, "use Debian 12, Debian 13 or Ubuntu 24.04 (amd64), then ./bootstrap")


def _root(where: str) -> Finding:
    if os.geteuid() == 0:
        return Finding(Level.OK, "running as root, which the emulated rack needs", where)
    return Finding(Level.WARN, "not running as root: the emulated rack cannot be used", where, "sudo nohype ...")


def _packages(where: str) -> list[Finding]:
    missing = [name for name, program in PROGRAMS.items() if shutil.which(program) is None]
    missing += [name for name, path in FILES.items() if not path.exists()]
    if not missing:
        return [Finding(Level.OK, f"Debian packages: {', '.join(PROGRAMS)}", where)]
    return [
        Finding(
            Level.FAIL,
            f"package {name} is missing",
            where,
            f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {name}",
        )
        for name in missing
    ]


def _ansible(where: str) -> Finding:
    program = Path(sys.executable).parent / "ansible-playbook"
    if program.exists():
        return Finding(Level.OK, "Ansible is in the harness's environment", where)
    return Finding(Level.FAIL, "ansible-playbook is missing", str(program), "./bootstrap")


def _room(name: str, folder: Path, needed_gib: int) -> Finding:
    there = existing(folder)
    free = shutil.disk_usage(there).free / GIB
    variable = f"NOHYPE_{name.upper()}"
    if not os.access(there, os.W_OK):
        return Finding(
            Level.FAIL, f"the {name} folder cannot be written", str(folder), f"set {variable} to one that can"
        )
    if free < needed_gib:
        fix = f"make room, or set {variable} to a folder on a larger disk"
        return Finding(Level.FAIL, f"{free:.1f} GiB free for the {name}, {needed_gib} are needed", str(folder), fix)
    return Finding(Level.OK, f"{free:.0f} GiB free for the {name}", str(folder))


def _memory(where: str, total: int) -> Finding:
    if total / GIB < MIN_MEMORY_GIB:
        fix = "give rack hosts less memory (inventory/rack/rack.yml), or use a larger machine"
        what = f"{total / GIB:.1f} GiB of memory, the emulated rack wants {MIN_MEMORY_GIB}"
        return Finding(Level.WARN, what, where, fix)
    return Finding(Level.OK, f"{total / GIB:.0f} GiB of memory", where)
