"""What Prometheus is to scrape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.hosts.model import Host


@dataclass(frozen=True)
class Target:
    """Where an exporter answers, "address:port"; with TLS where `ca` is set, and with a password where `user` is."""

    address: str
    ca: Path | None = None
    user: str = ""
    password_file: Path | None = None


def exporter_targets(hosts: Iterable[Host]) -> dict[str, Target]:
    """Where each host's exporter answers, by the host's name."""
    return {host.name: _target(host) for host in hosts}


def file_sd(targets: Mapping[str, Target]) -> str:
    """A file_sd document; each series gets the label `host`, the name in the inventory."""
    groups = [
        {"targets": [target.address], "labels": {"host": name} | ({"__scheme__": "https"} if target.ca else {})}
        for name, target in sorted(targets.items())
    ]
    return json.dumps(groups, indent=1) + "\n"


def write_targets(path: Path, targets: Mapping[str, Target]) -> None:
    """Write a file_sd file, whole. Prometheus sees it change."""
    scratch = path.with_suffix(".new")
    scratch.write_text(file_sd(targets), encoding="utf-8")
    scratch.replace(path)


def _target(host: Host) -> Target:
    address = host.variables.get("nohype_exporter_listen") or host.address
    where = f"{_bracketed(str(address))}:{host.variables['nohype_exporter_port']}"
    web = host.variables.get("nohype_exporter_web")
    if not isinstance(web, dict):
        return Target(where)
    secret = web["password_file"]
    return Target(
        where, Path(web["ca"]).expanduser(), web["user"], Path(secret).expanduser() if secret is not None else None
    )


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
