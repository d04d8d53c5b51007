"""Playbooks and inventories for tests, and how to run them."""

from __future__ import annotations

from pathlib import Path

import yaml

from harness.hosts.model import Host
from harness.provision.model import PlaybookResult, TaskEvent
from harness.provision.runner import run_playbook


def write_inventory(folder: Path, *hosts: Host, aliases: dict[str, dict[str, object]] | None = None) -> Path:
    """An inventory as the rack writes them. `aliases`: names, with variables, under which the one host is known."""
    entries: dict[str, dict[str, object]] = {}
    for host in hosts:
        for name, variables in (aliases or {host.name: {}}).items():
            entries[name] = {
                "ansible_host": host.address,
                "ansible_user": host.user,
                "ansible_ssh_private_key_file": str(host.private_key),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={host.known_hosts} -o StrictHostKeyChecking=yes",
                **variables,
            }
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"nohype_hosts": {"hosts": entries}}, sort_keys=False), encoding="utf-8")
    return path


def write_playbook(folder: Path, *tasks: dict[str, object], roles: tuple[object, ...] = (), **keywords: object) -> Path:
    path = folder / "play.yml"
    play = {
        "name": "Test",
        "hosts": "nohype_hosts",
        "become": True,
        "gather_facts": False,
        "roles": list(roles),
        "tasks": list(tasks),
        **keywords,
    }
    path.write_text(yaml.safe_dump([play]), encoding="utf-8")
    return path


def play(folder: Path, playbook: Path, inventory: Path, **options: object) -> tuple[PlaybookResult, list[TaskEvent]]:
    events: list[TaskEvent] = []
    arguments: dict[str, object] = {"limit": "all", "extra_vars": {}, "on_event": events.append, **options}
    result = run_playbook(playbook, inventory=inventory, artifacts=folder / "artifacts", **arguments)  # type: ignore[arg-type]
    return result, events
