"""Build the NoHype kernel in a Debian root of its own, so that its compiler is the same on every control node."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.kernel import recipe as recipes
from harness.kernel.config import refused
from harness.kernel.recipe import SOURCE, KernelRecipe
from harness.kernel.source import unpack
from harness.paths import cache_dir
from harness.steps import Step, silent
from harness.toolbox.cache import cached, digest
from harness.toolbox.debian import inside, installed_packages, root_folder
from harness.toolbox.process import bound, require_root, run

_COMPILE_SECONDS = 4 * 3600.0
_PACKAGE_SECONDS = 24 * 3600.0  # 1,900 modules on a small machine
# The same inputs give the same image: no date, no user and no machine of the build goes into it.
_REPRODUCIBLE = (
    *("KBUILD_BUILD_TIMESTAMP=1980-01-01", "KBUILD_BUILD_USER=nohype", "KBUILD_BUILD_HOST=testbed"),
    *("KBUILD_BUILD_VERSION=1", "LOCALVERSION="),
)


@dataclass(frozen=True)
class _Workshop:
    """A source tree, and the builder's programs to work on it."""

    root: Path
    folder: Path  # holds the tree and what is made of it

    @property
    def tree(self) -> Path:
        return self.folder / "source"

    def command(self, argv: Sequence[str]) -> list[str]:
        """An argument list that runs a program of the builder's root, in an environment that is the same everywhere."""
        ccache = cache_dir() / "ccache"
        ccache.mkdir(parents=True, exist_ok=True)
        clean = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8")
        # Depend mode: what a file includes, ccache takes from the dependencies that the compiler writes anyway. When it
        # ran the preprocessor for that, net/ipv4 took 43.4 s on two cores; so it takes 28.9 s, as without ccache.
        cache = (f"CCACHE_DIR={ccache}", "CCACHE_DEPEND=1", "CCACHE_NOHASHDIR=1", "CCACHE_MAXSIZE=4G")
        command = inside(self.root, (*clean, *cache, "SOURCE_DATE_EPOCH=315532800", *argv), (self.folder, ccache))
        return bound(command)  # a killed harness must not leave a compilation behind

    def run(self, *argv: str, timeout: float = 600) -> str:
        """Run a program of the builder's root."""
        return run(self.command(argv), timeout=timeout)

    def make(self, *words: str, timeout: float = 600) -> str:
        """Within the tree: objects elsewhere would carry the tree's path, and ccache would find nothing again."""
        jobs = f"-j{len(os.sched_getaffinity(0))}"
        compilers = ("CC=ccache gcc", "HOSTCC=ccache gcc")
        return self.run("make", "-s", jobs, "-C", str(self.tree), *compilers, *_REPRODUCIBLE, *words, timeout=timeout)


def build(made: KernelRecipe, step: Step = silent) -> Path:
    """The kernel's folder: vmlinuz, config, System.map, modules.tar, manifest.json; from the cache or built now.

    Needs root; about 10 minutes on two cores when it is not cached, 1 where ccache has all of it. Raises InputError
    where an option of the configuration is refused, else as harness.kernel.source.unpack.
    """
    return _built(made, _image, step)


def package(step: Step = silent, modules: Collection[str] = ()) -> Path:
    """The folder of Debian packages of the kernel for real hosts, and their manifest.json; cached or built now.

    Needs root, 20 GB and an hour or two: it has the drivers of all servers, some 1,900 modules. With `modules`, names
    as in /proc/modules, it has these and what the stacks need, and is built in a fraction of that.
    """
    size = f"what {len(modules)} loaded modules need" if modules else "some 1,900 modules (an hour or two)"

    def make(shop: _Workshop, step: Step) -> None:
        with step(f"kernel packages: compile {size}"):
            _packages(shop)

    return _built(recipes.full(modules=modules), make, step)


def _built(made: KernelRecipe, make: Callable[[_Workshop, Step], None], step: Step) -> Path:
    require_root("building the kernel")

    def fill(folder: Path) -> None:
        with step("kernel: Debian root with compiler and source"):
            shop = _Workshop(root_folder(made.builder), folder)
            packages = installed_packages(shop.root)
        offered = (packages[SOURCE], Path(f"/usr/src/{SOURCE}.tar.xz"))
        source = unpack(shop.tree, offered, made.patches, made.recorded, step, shop.command)
        with step("kernel: configuration"):
            _configure(made, shop)
        make(shop, step)
        manifest = {
            # Debian's archive moves on; the digest tells apart what two control nodes make of one recipe.
            "digest": digest([made.digest, source.version, packages]),
            "release": shop.make("kernelrelease").strip(),
            "source": source.version,
            "source_why": source.why,
            "patches": [name for name, _ in made.patches],
            "packages": packages,
        }
        shutil.rmtree(shop.tree)
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    return cached(made.kind, made.digest, fill)


def _configure(made: KernelRecipe, shop: _Workshop) -> None:
    outcome = shop.tree / ".config"
    fragment = shop.tree / "kernel/configs/nohype.config"
    fragment.write_text(made.fragment, encoding="utf-8")
    if made.base:
        outcome.write_text(shop.run("xzcat", made.base), encoding="utf-8")
        shop.make("nohype.config")
        if made.modules:
            _leave_out_others(made.modules, shop)
    else:
        # What the fragment does not name is off, whatever its default: also options that show only with others on.
        shop.make("allnoconfig", f"KCONFIG_ALLCONFIG={fragment}")
    fragment.unlink()
    missing = refused(made.fragment, outcome.read_text(encoding="utf-8"))
    if missing:
        raise InputError(
            f"the kernel's configuration refuses {len(missing)} options of the fragment: {', '.join(missing)}",
            where=f"kernel/configs/{made.config}.config",
            fix="are the patches that bring them in kernel/patches? Else see what each depends on, in its Kconfig file",
        )


def _leave_out_others(modules: Sequence[str], shop: _Workshop) -> None:
    """Turn off what none of the modules needs, and have once more what the fragment asks for."""
    listing = shop.folder / "modules"
    listing.write_text("".join(f"{name} 0 0\n" for name in modules), encoding="ascii")  # as lsmod prints them
    shop.make("localmodconfig", f"LSMOD={listing}")
    shop.make("nohype.config")
    listing.unlink()


def _image(shop: _Workshop, step: Step) -> None:
    with step("kernel: compile"):
        shop.make("bzImage", "modules", timeout=_COMPILE_SECONDS)
    with step("kernel: install"):
        shutil.copyfile(shop.tree / "arch/x86/boot/bzImage", shop.folder / "vmlinuz")
        shutil.copyfile(shop.tree / ".config", shop.folder / "config")
        shutil.copyfile(shop.tree / "System.map", shop.folder / "System.map")
        installed = shop.folder / "installed"
        shop.make("modules_install", f"INSTALL_MOD_PATH={installed}", "INSTALL_MOD_STRIP=1")
        for link in installed.glob("lib/modules/*/build"):
            link.unlink()  # to the source tree, which is not kept
        shop.run(*_tar(shop.folder / "modules.tar", installed / "lib/modules"))
        shutil.rmtree(installed)


def _tar(archive: Path, folder: Path) -> Sequence[str]:
    """An argument list that packs `folder`'s contents; the same contents give the same archive."""
    same = ("--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=go-w")
    names = sorted(path.name for path in folder.iterdir())
    return ("tar", "--create", "--file", str(archive), *same, "--directory", str(folder), "--", *names)


def _packages(shop: _Workshop) -> None:
    """`make bindeb-pkg` puts its packages beside the tree."""
    shop.make("bindeb-pkg", "KDEB_CHANGELOG_DIST=trixie", timeout=_PACKAGE_SECONDS)
    for left_over in (*shop.folder.glob("*.changes"), *shop.folder.glob("*.buildinfo")):
        left_over.unlink()
