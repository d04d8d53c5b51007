"""What a NoHype kernel is made of: Debian's source, the series in kernel/patches, a configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.config import nearest
from harness.errors import InputError
from harness.kernel.series import read
from harness.kernel.source import Recorded, recorded
from harness.paths import repo_root
from harness.toolbox.cache import digest
from harness.toolbox.debian import RootRecipe

RACK = "rack"
# Kernels of the emulated rack, each a fragment in kernel/configs: as small as can be; with KASAN and lockdep; with
# function tracing and kcov.
VARIANTS = (RACK, "debug", "instrumented")
SERIES = "6.12"  # Debian trixie's kernel, and the folder in kernel/patches
SOURCE = f"linux-source-{SERIES}"  # Debian's package
_TOOLS = (
    *("gcc", "make", "flex", "bison", "bc", "libelf-dev", "libssl-dev", "libc6-dev", "ccache", "perl"),
    *("python3-minimal", "xz-utils", "zstd", "patch", "kmod", "cpio", "rsync", "diffutils", SOURCE),
)
_PACKAGING = ("build-essential", "debhelper", "fakeroot", "libdw-dev", "python3", f"linux-config-{SERIES}")
_DEBIANS_CONFIG = f"/usr/src/linux-config-{SERIES}/config.amd64_none_amd64.xz"


@dataclass(frozen=True)
class KernelRecipe:
    """One kernel. Its hash names the result, so every input must be a field."""

    kind: str  # "kernel", "kernel-package": the result's name in the cache
    builder: RootRecipe  # a Debian root with the source and all that compiles it
    base: str  # packed configuration under the fragment, a file of the builder; "": the kernel's own allnoconfig
    config: str  # name of the fragment in kernel/configs
    fragment: str
    patches: tuple[tuple[str, str], ...]  # name and text, in the order in which they are applied
    recorded: Recorded  # the source that is built where the builder's does not take the patches
    modules: tuple[str, ...] = ()  # of the configuration's only these, and what the fragment asks for; (): all
    format: int = 1  # raised when the builder makes something else of the same fields

    @property
    def digest(self) -> str:
        return digest(asdict(self))


def rack(home: Path | None = None) -> KernelRecipe:
    """The kernel of hosts and guests on the emulated rack: small, all built in. `home` stands for the checkout."""
    builder = RootRecipe(name="kernel-builder", packages=_TOOLS)
    return KernelRecipe("kernel", builder, "", RACK, _fragment(home, RACK), patches(home), _recorded(home))


def variant(name: str, home: Path | None = None) -> KernelRecipe:
    """The rack's kernel with another fragment over its own: one of VARIANTS, for work on the patches.

    Raises InputError for another name.
    """
    if name not in VARIANTS:
        raise InputError(f"there is no kernel {name!r}{nearest(name, VARIANTS)}", fix=f"kernels: {', '.join(VARIANTS)}")
    made = rack(home)
    if name == RACK:
        return made
    return replace(made, config=name, fragment=made.fragment + _fragment(home, name))


def chosen() -> KernelRecipe:
    """The kernel that hosts of the emulated rack boot: `rack`, or the variant that NOHYPE_KERNEL names."""
    try:
        return variant(os.environ.get("NOHYPE_KERNEL") or RACK)
    except InputError as error:
        raise InputError(error.what, where="NOHYPE_KERNEL", fix=error.fix) from None


def full(home: Path | None = None, modules: Iterable[str] = ()) -> KernelRecipe:
    """The kernel of real hosts: Debian's configuration, with the drivers of servers, or with `modules` alone."""
    builder = RootRecipe(name="kernel-packager", packages=(*_TOOLS, *_PACKAGING))
    fragment, only = _fragment(home, "full"), tuple(sorted(set(modules)))
    return KernelRecipe(
        "kernel-package", builder, _DEBIANS_CONFIG, "full", fragment, patches(home), _recorded(home), only
    )


def patches(home: Path | None = None) -> tuple[tuple[str, str], ...]:
    """The series: every *.patch, in name order."""
    return read(series(home))


def series(home: Path | None = None) -> Path:
    """The folder of the series."""
    return _kernel(home) / "patches" / SERIES


def _recorded(home: Path | None) -> Recorded:
    return recorded(series(home))


def _fragment(home: Path | None, name: str) -> str:
    path = _kernel(home) / "configs" / f"{name}.config"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"the kernel's configuration cannot be read: {error.strerror}", where=str(path)) from None


def _kernel(home: Path | None) -> Path:
    return (home or repo_root()) / "kernel"
