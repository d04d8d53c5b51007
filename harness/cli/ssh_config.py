"""Files for the system's `ssh`: hosts and guests with their known keys, nothing trusted on first use."""

from __future__ import annotations

from pathlib import Path

from harness.errors import InputError
from harness.guests.image import GuestImage
from harness.guests.model import Guest
from harness.hosts.model import Host


def host_config(folder: Path, host: Host) -> Path:
    """Write an ssh_config under `folder` that reaches the host as `host`; its path."""
    return _write(folder / host.name / "config", _host_block(host))


def guest_config(folder: Path, host: Host, guest: Guest, image: GuestImage) -> Path:
    """Write an ssh_config that reaches the guest as `guest` by way of its host; its path.

    The guest's key is looked up under its image's name: addresses are used again by other guests.
    """
    home = folder / host.name / guest.name
    alias = f"guest-image-{image.digest}"
    known = _write(home / "known_hosts", "".join(f"{alias} {key}\n" for key in image.host_keys))
    block = _block(
        "guest",
        HostName=guest.address,
        User="root",
        HostKeyAlias=alias,
        IdentityFile=_quoted(image.private_key),
        UserKnownHostsFile=_quoted(known),
        ProxyJump="host",
    )
    return _write(home / "config", _host_block(host) + block)


def _host_block(host: Host) -> str:
    return _block(
        "host",
        HostName=host.address,
        Port=str(host.port),
        User=host.user,
        IdentityFile=_quoted(host.private_key),
        UserKnownHostsFile=_quoted(host.known_hosts),
    )


def _block(name: str, **options: str) -> str:
    fixed = {
        "IdentitiesOnly": "yes",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "LogLevel": "ERROR",
    }
    lines = "".join(f"  {key} {value}\n" for key, value in {**options, **fixed}.items())
    return f"Host {name}\n{lines}"


def _quoted(path: Path) -> str:
    """A path as ssh_config takes it: quoted, with % doubled."""
    text = str(path)
    if '"' in text or "\n" in text:
        raise InputError("ssh cannot use a path with quotes or line breaks", where=text)
    return '"' + text.replace("%", "%%") + '"'


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path
