"""What Prometheus is to scrape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.hosts.model import Host


def exporter_targets(hosts: Iterable[Host]) -> dict[str, str]:
    """Where each host's exporter answers: name -> "address:port"."""
    return {host.name: f"{_bracketed(host.address)}:{host.variables['nohype_exporter_port']}" for host in hosts}


def write_targets(path: Path, targets: Mapping[str, str]) -> None:
    """Write a file_sd file; each series gets the label `host`, the name in the inventory. Prometheus sees it change."""
    groups = [{"targets": [address], "labels": {"host": name}} for name, address in sorted(targets.items())]
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(groups, indent=1) + "\n", encoding="utf-8")
    scratch.replace(path)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
