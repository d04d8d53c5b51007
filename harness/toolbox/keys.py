"""The control node's SSH key pair, and host keys made at image build."""

from __future__ import annotations

from pathlib import Path

from harness.paths import state_dir
from harness.toolbox.cache import locked
from harness.toolbox.process import run


def control_key() -> Path:
    """The private key with which the harness logs in to hosts it built and to guests; made on first use, mode 0600."""
    folder = state_dir() / "keys"
    key = folder / "id_ed25519"
    with locked(folder / ".lock"):
        folder.chmod(0o700)
        if not key.exists():
            make_key(key, "nohype-control")
    return key


def public_text(private: Path) -> str:
    """The one-line public key beside `private`."""
    return private.with_suffix(".pub").read_text(encoding="utf-8").strip()


def make_key(path: Path, comment: str) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
