"""The guest image on the control node: what hosts get, and the keys with which its guests are reached."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UnavailableError
from harness.paths import cache_dir, state_dir

_FIX = "build it: nohype image build"


@dataclass(frozen=True)
class GuestImage:
    """A built image. `host_keys` are lines such as `ssh-ed25519 AAAA...`; every guest of the image has them."""

    digest: str
    folder: Path  # vmlinuz, initrd.img, rootfs.qcow2, initrd-ram.img (root in memory), manifest.json
    kernel_release: str
    host_keys: tuple[str, ...]
    private_key: Path


def current() -> GuestImage:
    """The image of today's recipe and key. Raises UnavailableError when it has not been built."""
    from harness.guests.build import recipe

    if not _private_key().exists():  # the recipe would make one
        raise UnavailableError("there is no guest image yet", where=str(cache_dir()), fix=_FIX)
    folder = cache_dir() / f"guest-image-{recipe().digest}"
    if not folder.is_dir():
        raise UnavailableError("the guest image of the current recipe is not built", where=str(folder), fix=_FIX)
    return load(folder)


def ready() -> bool:
    """Whether `current` has an image to return."""
    try:
        current()
    except UnavailableError:
        return False
    return True


def by_digest(digest: str) -> GuestImage:
    """The image a running guest was made from, old recipes included. Raises UnavailableError if it is not here."""
    for manifest in sorted(cache_dir().glob("guest-image-*/manifest.json")):
        image = load(manifest.parent)
        if image.digest == digest:
            return image
    raise UnavailableError(
        f"guest image {digest} is not on this control node, so its guests' host keys are unknown",
        where=str(cache_dir()),
        fix="use the control node that built it, or make new guests: nohype image build; nohype provision",
    )


def load(folder: Path) -> GuestImage:
    """The image in `folder`. Raises UnavailableError when its manifest is missing or wrong."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return GuestImage(
            digest=str(manifest["digest"]),
            folder=folder,
            kernel_release=str(manifest["kernel_release"]),
            host_keys=tuple(str(key) for key in manifest["ssh_host_keys"]),
            private_key=_private_key(),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnavailableError(
            f"the guest image's manifest cannot be used ({type(error).__name__}: {error})",
            where=str(path),
            fix=f"remove {folder} and build again: nohype image build",
        ) from None


def _private_key() -> Path:
    return state_dir() / "keys" / "id_ed25519"
