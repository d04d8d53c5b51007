"""Build Debian root folders from a recipe with mmdebstrap."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.toolbox.cache import cached, digest, is_cached
from harness.toolbox.process import bound, require_root, run

# Both are what Debian's own installer uses; NOHYPE_DEBIAN_MIRROR points elsewhere (a local mirror, a dated snapshot).
DEFAULT_MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class RootRecipe:
    """What a root folder is made of. Its hash names the result, so every input must be a field."""

    name: str
    packages: tuple[str, ...]
    files: tuple[tuple[str, str, int], ...] = ()  # path, text, mode; written before `commands`
    commands: tuple[tuple[str, ...], ...] = ()  # argument lists, run inside the root
    dpkg_options: tuple[str, ...] = ()
    suite: str = "trixie"
    backports: tuple[str, ...] = ()  # source packages that are taken from the suite's backports
    format: int = 1  # raised when the builder below changes what it makes of the same fields

    @property
    def digest(self) -> str:
        return digest(asdict(self))


# Debian compresses modules with xz. An emulated CPU takes seconds to unpack those of one boot; a disk image has room.
PLAIN_MODULES: tuple[tuple[str, ...], ...] = (
    ("find", "/lib/modules", "-name", "*.ko.xz", "-exec", "unxz", "{}", "+"),
    ("sh", "-c", "for release in $(ls /lib/modules); do depmod $release; done"),
)
# Loads the modules that lead to a virtio disk, or to one of Xen's, without udev: what follows the kernel is at its init
# in a second. Those whose device is not there are passed over.
TINY_INITRAMFS = (
    "sh",
    "-c",
    "release=$(ls /lib/modules) && mktirfs --auto-modules=no "
    "--include-modules=virtio_pci,virtio_blk,xen_blkfront,ext4 -o /boot/initrd.img-$release $release",
)
# apt_preferences(5): without a pin, nothing comes from backports. 990 is the priority of a release that was asked for.
_PIN = "Package: {package}\nPin: release n={suite}-backports\nPin-Priority: 990\n"


def mirror() -> str:
    return os.environ.get("NOHYPE_DEBIAN_MIRROR") or DEFAULT_MIRROR


def keyring() -> Path:
    """Whose signatures of a mirror count: Debian's, or the keys in the file that NOHYPE_DEBIAN_KEYRING names."""
    return Path(os.environ.get("NOHYPE_DEBIAN_KEYRING") or KEYRING)


def bootstrap(recipe: RootRecipe, folder: Path) -> None:
    """Fill `folder` with the recipe's root. Takes about a minute; needs root."""
    require_root(f"building the {recipe.name} root")
    suites = [recipe.suite, f"{recipe.suite}-backports"] if recipe.backports else [recipe.suite]
    with tempfile.NamedTemporaryFile("w", prefix="nohype-apt-", encoding="ascii") as pins:
        pins.write("\n".join(_PIN.format(package=f"src:{name}", suite=recipe.suite) for name in recipe.backports))
        pins.flush()
        Path(pins.name).chmod(0o644)  # apt reads it as a user of its own
        # A killed harness must not leave apt and dpkg behind.
        run(bound(_mmdebstrap(recipe, folder, suites, Path(pins.name))))
    for path, text, mode in recipe.files:
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)
    for command in recipe.commands:
        run(bound(inside(folder, command)))


def _mmdebstrap(recipe: RootRecipe, folder: Path, suites: list[str], pins: Path) -> list[str]:
    return [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        f"--keyring={keyring()}",
        "--aptopt=Apt::Install-Recommends false",
        "--aptopt=Acquire::Retries 3",
        "--aptopt=Acquire::Languages none",
        f"--include={','.join(recipe.packages)}",
        *(f"--dpkgopt={option}" for option in ("path-exclude=/usr/share/doc/*", "path-exclude=/usr/share/man/*")),
        *(f"--dpkgopt={option}" for option in recipe.dpkg_options),
        f"--setup-hook=upload {pins} /etc/apt/preferences.d/nohype",
        recipe.suite,
        str(folder),
        *(f"deb {mirror()} {suite} main" for suite in suites),
    ]


def root_folder(recipe: RootRecipe) -> Path:
    """The recipe's root folder, from the cache or built now."""
    return cached(f"root-{recipe.name}", recipe.digest, lambda folder: bootstrap(recipe, folder))


def root_ready(recipe: RootRecipe) -> bool:
    """Whether `root_folder` would return at once."""
    return is_cached(f"root-{recipe.name}", recipe.digest)


# Positional parameters only: nothing of the caller's is ever parsed as shell text. /dev and the binds are seen in
# this mount namespace alone and vanish with the program; `exec` all the way keeps the process id the caller knows.
_ENTER = """
set -e
root=$1; shift
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
while [ "$1" != -- ]; do
  mkdir -p "$root$1"
  mount --rbind "$1" "$root$1"
  shift
done
shift
exec chroot "$root" "$@"
"""


def inside(root: Path, argv: tuple[str, ...] | list[str], binds: tuple[Path, ...] = ()) -> list[str]:
    """The argument list that runs `argv` inside `root`, with `binds` visible there at their own paths."""
    return [
        *("unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", _ENTER, "enter", str(root)),
        *(str(path) for path in binds),
        "--",
        *argv,
    ]


def installed_packages(root: Path) -> dict[str, str]:
    """Name and version of every package of a root: the provenance of what was built."""
    text = run(inside(root, ("dpkg-query", "-W", "-f", "${Package}\t${Version}\n")))
    return dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
