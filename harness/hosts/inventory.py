"""Hosts from an Ansible inventory, checked before anything is started.

The harness manages the group `nohype_hosts`; the variables it knows are those of `HostVariables`.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.config import nearest, validate
from harness.errors import InputError, UnavailableError
from harness.hosts.model import Bmc, Host
from harness.hosts.places import Places
from harness.hosts.variables import BmcVariables, HostVariables
from harness.results.model import Fidelity

GROUP = "nohype_hosts"
_ANSIBLE_SECONDS = 60.0
_BLIND_TRUST = re.compile(r"StrictHostKeyChecking[= ]+\"?(no|off|accept-new)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Inventory:
    """The hosts of one inventory, in its order, and its groups by name."""

    path: Path
    hosts: tuple[Host, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def select(self, pattern: str) -> tuple[Host, ...]:
        """Hosts named by `pattern`: names, groups, `all` and globs, separated by commas; `!` takes away.

        Raises InputError with the nearest right name when a part names nothing, or when nothing is left.
        """
        names = [host.name for host in self.hosts]
        chosen: set[str] = set()
        removed: set[str] = set()
        parts = [part.strip() for part in pattern.split(",") if part.strip()]
        for part in parts:
            word = part.removeprefix("!")
            group = self.groups.get(word, ())
            found = {name for name in names if word == "all" or name in group or fnmatch.fnmatchcase(name, word)}
            if not found:
                raise InputError(
                    f"no host or group matches {word!r}{nearest(word, [*names, *self.groups])}",
                    where=str(self.path),
                    fix=f"hosts: {', '.join(names)}",
                )
            (removed if part.startswith("!") else chosen).update(found)
        if parts and all(part.startswith("!") for part in parts):
            chosen = set(names)
        result = tuple(host for host in self.hosts if host.name in chosen - removed)
        if not result:
            raise InputError(f"no host is left by {pattern!r}", where=str(self.path), fix=f"hosts: {', '.join(names)}")
        return result


def load_inventory(path: Path) -> Inventory:
    """Read and check an inventory (file or folder), with Ansible's own rules for groups, precedence and templates.

    Raises InputError naming file, line, host and key.
    """
    path = path.absolute()
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"no such inventory{nearest(path.name, siblings)}", where=str(path))
    places = Places(path)
    answer = _ask_ansible(path)
    names = answer.groups.get(GROUP, ())
    if not names:
        others = [name for name in answer.groups if name not in ("all", "ungrouped")]
        raise InputError(
            f"no hosts in group {GROUP!r}{nearest(GROUP, others)}",
            where=str(path),
            fix=f"put the hosts the harness may use into a group {GROUP} (see inventory/examples/)",
        )
    for name in names:
        if name in answer.errors:
            key, message = answer.errors[name]
            raise InputError(f"host {name}: {key}: {message}", where=places.where(name, (key,)))
    hosts = tuple(_host(name, answer.hosts[name], places) for name in names)
    _refuse_shared(hosts, places)
    members = {group: tuple(name for name in answer.groups[group] if name in names) for group in answer.groups}
    return Inventory(path, hosts, {group: found for group, found in members.items() if found})


@dataclass(frozen=True)
class _Answer:
    """What `ansible_vars` prints: variables by host, hosts by group, (key, message) of what could not be templated."""

    hosts: dict[str, dict[str, object]]
    groups: dict[str, tuple[str, ...]]
    errors: dict[str, tuple[str, str]]


def _ask_ansible(path: Path) -> _Answer:
    # Ansible's own place for temporary files is in the home, which a service cannot write to.
    with tempfile.TemporaryDirectory(prefix="nohype-inventory-") as temporary:
        return _answer(path, temporary)


def _answer(path: Path, temporary: str) -> _Answer:
    environment = {
        **os.environ,
        "ANSIBLE_LOCAL_TEMP": temporary,
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_NOCOLOR": "true",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness.hosts.ansible_vars", str(path)],
            capture_output=True,
            text=True,
            timeout=_ANSIBLE_SECONDS,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(
            f"Ansible did not read the inventory within {_ANSIBLE_SECONDS:g} s",
            where=str(path),
            fix="if it is a dynamic inventory, run it by hand to see what it waits for",
        ) from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["(it said nothing)"]
        if "No module named 'ansible" in lines[-1]:
            raise UnavailableError("ansible-core is not installed", where=sys.executable, fix="./bootstrap")
        raise InputError(f"Ansible cannot read the inventory: {lines[-1]}", where=str(path))
    document = json.loads(done.stdout)
    return _Answer(
        hosts=document["hosts"],
        groups={name: tuple(members) for name, members in document["groups"].items()},
        errors={name: (key, message) for name, (key, message) in document["errors"].items()},
    )


def _host(name: str, found: dict[str, object], places: Places) -> Host:
    _refuse_blind_trust(name, found, places)
    raw = {key: value for key, value in found.items() if key in HostVariables.model_fields or key.startswith("nohype_")}
    raw.setdefault("ansible_host", name)
    known = validate(raw, HostVariables, lambda loc: places.where(name, loc), f"host {name}")
    return Host(
        name=name,
        address=known.ansible_host,
        port=known.ansible_port,
        user=known.ansible_user,
        private_key=Path(known.ansible_ssh_private_key_file).expanduser(),
        known_hosts=Path(known.nohype_known_hosts).expanduser(),
        fidelity=Fidelity(known.nohype_fidelity),
        bmc=_bmc(known.nohype_bmc) if known.nohype_bmc else None,
        variables={key: value for key, value in known.model_dump().items() if key.startswith("nohype_")},
    )


def _bmc(found: BmcVariables) -> Bmc:
    return Bmc(
        kind=found.kind,
        address=found.address,
        port=found.port,
        user=found.user,
        password_env=found.password_env,
        password_file=Path(found.password_file).expanduser() if found.password_file else None,
        console=found.console,
    )


def _refuse_blind_trust(name: str, found: dict[str, object], places: Places) -> None:
    """The harness checks host keys itself; Ansible, run with the same inventory, must as well."""
    for key in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        match = _BLIND_TRUST.search(str(found.get(key, "")))
        if match:
            raise InputError(
                f"host {name}: {key}: {match.group(0)} would trust any host key",
                where=places.where(name, (key,)),
                fix="use -o StrictHostKeyChecking=yes and -o UserKnownHostsFile=FILE with the host's key in it",
            )
    for key in ("ansible_host_key_checking", "ansible_ssh_host_key_checking"):
        if str(found.get(key, True)).lower() in ("false", "no", "0"):
            raise InputError(
                f"host {name}: {key}: host keys must be checked",
                where=places.where(name, (key,)),
                fix="remove this line",
            )


def _refuse_shared(hosts: tuple[Host, ...], places: Places) -> None:
    """Two names for one machine, BMC or data address would let two blocks disturb each other."""
    seen: dict[tuple[str, object], str] = {}
    for host in hosts:
        claims: list[tuple[str, object, str]] = [("ansible_host", (host.address, host.port), host.address)]
        if host.bmc:
            claims.append(("nohype_bmc", (host.bmc.address, host.bmc.port), host.bmc.address))
        data = str(host.variables["nohype_data_address"]).partition("/")[0]
        if data:
            claims.append(("nohype_data_address", data, data))
        for key, claim, shown in claims:
            other = seen.setdefault((key, claim), host.name)
            if other != host.name:
                raise InputError(
                    f"host {host.name}: {key}: {shown} belongs to {other} already",
                    where=places.where(host.name, (key,)),
                )
