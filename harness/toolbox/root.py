"""The toolbox: a Debian trixie root with the programs whose version matters, the same on every control machine.

QEMU comes from trixie-backports: 11.1 is the first whose AMD-Vi translates the DMA of virtual functions and can be
saved in a snapshot. (10.0.2, of bookworm-backports, maps the 64-bit BARs of virtual functions wrongly.) Prometheus
comes along so that control nodes need no system-wide server.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UnavailableError
from harness.toolbox.debian import RootRecipe, inside, installed_packages, root_folder, root_ready
from harness.toolbox.process import run

RECIPE = RootRecipe(
    name="toolbox",
    packages=(
        "qemu-system-x86",
        "qemu-utils",
        "seabios",
        "ipxe-qemu",
        "openipmi",
        "ipmitool",
        "prometheus",
        "e2fsprogs",
        "squashfs-tools",
        "cpio",
        "fdisk",
        "grub-pc-bin",
        "grub-common",
    ),
    backports=("qemu", "seabios"),
)


@dataclass(frozen=True)
class Toolbox:
    root: Path

    def command(self, argv: Sequence[str], binds: Sequence[Path] = ()) -> list[str]:
        """An argument list that runs `argv` with the toolbox's programs; it needs root.

        `binds` are folders made visible inside at the same path. The program keeps the process id of the command.
        """
        return inside(self.root, list(argv), tuple(binds))

    def run(self, argv: Sequence[str], binds: Sequence[Path] = (), *, timeout: float = 600) -> str:
        """Run to the end; stdout. Raises HarnessError with the end of the output on failure."""
        return run(self.command(argv, binds), timeout=timeout)

    def version(self, package: str) -> str:
        """The version of an installed package."""
        return installed_packages(self.root)[package]


def toolbox() -> Toolbox:
    """The toolbox, built on first use (about a minute)."""
    return Toolbox(root_folder(RECIPE))


def prometheus_program(program: str, title: str, binds: Sequence[Path]) -> list[str]:
    """The argument list that runs a program of Debian's prometheus: the toolbox's where we are root, else an installed.

    `binds` as of Toolbox.command; `title` is what errors call it. Raises UnavailableError where there is none.
    """
    if os.geteuid() == 0:
        return toolbox().command([program], binds)
    installed = shutil.which(program)
    if installed is None:
        raise UnavailableError(
            f"there is no {title}", where="PATH", fix="apt install prometheus, or run nohype as root (sudo)"
        )
    return [installed]


def toolbox_ready() -> bool:
    """Whether `toolbox()` would return at once."""
    return root_ready(RECIPE)
