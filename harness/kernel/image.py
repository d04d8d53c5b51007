"""The NoHype kernel on the control node: what hosts of the stacks that boot it get."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UnavailableError
from harness.hosts.model import Host
from harness.kernel.recipe import chosen
from harness.paths import cache_dir
from harness.provision.stacks import KERNEL_FIX, gets_kernel

_BOOTED = re.compile(r"(?:^|\s)nohype\.kernel=(\S+)")  # in the arguments of stack nohype's boot entry


@dataclass(frozen=True)
class KernelImage:
    """A built kernel. `digest` also tells apart kernels that were made of one recipe by different compilers."""

    digest: str
    folder: Path  # vmlinuz, config, System.map, modules.tar, manifest.json
    release: str  # as `uname -r` says it
    source: str  # version of Debian's source package
    patches: tuple[str, ...]
    source_why: str = ""  # this source and not the archive's newest; "" where it is that


def current() -> KernelImage:
    """The kernel of today's patches and configuration. Raises UnavailableError when it has not been built."""
    folder = cache_dir() / f"kernel-{chosen().digest}"
    if not folder.is_dir():
        raise UnavailableError(
            "the NoHype kernel of the current patches and configuration is not built", where=str(folder), fix=KERNEL_FIX
        )
    return load(folder)


def ready() -> bool:
    """Whether `current` has a kernel to return."""
    try:
        current()
    except UnavailableError:
        return False
    return True


def for_stacks(stacks: Iterable[str], hosts: Collection[Host]) -> KernelImage | None:
    """The current kernel where a host is brought it for one of the stacks, else None. Raises as `current`."""
    return current() if any(gets_kernel(stack, host) for stack in stacks for host in hosts) else None


def booted(cmdline: str, built: KernelImage | None) -> dict[str, str]:
    """What a fingerprint says of the NoHype kernel that a host with this command line runs.

    That is nothing where the command line names none: on hosts of other stacks, or with a kernel from packages. Source
    and patches are those of the kernel that was `built` here, and known where that is the one.
    """
    named = _BOOTED.search(cmdline)
    if not named:
        return {}
    facts = {"kernel.digest": named[1]}
    if built and built.digest == named[1]:
        facts |= {"kernel.source": built.source, "kernel.patches": " ".join(built.patches)}
    return facts


def load(folder: Path) -> KernelImage:
    """The kernel in `folder`. Raises UnavailableError when its manifest is missing or wrong."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return KernelImage(
            digest=str(manifest["digest"]),
            folder=folder,
            release=str(manifest["release"]),
            source=str(manifest["source"]),
            patches=tuple(str(name) for name in manifest["patches"]),
            source_why=str(manifest["source_why"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnavailableError(
            f"the kernel's manifest cannot be used ({type(error).__name__}: {error})",
            where=str(path),
            fix=f"remove {folder} and build again: nohype kernel build",
        ) from None
