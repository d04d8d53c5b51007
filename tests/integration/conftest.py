"""Fixtures: hosts in namespaces (netns_hosts.py). They need root; the first use builds their Debian root (a minute).

`netns_host`      one host, as harness.hosts.model.Host
`make_host(name)` makes further ones: make_host("b", user="plain") logs in as a user who may not use sudo,
                  make_host("c", known_key="ssh-ed25519 AAAA...") has another key in known_hosts than the host shows
`machine_of`      the Machine behind a Host: .root (its files), .log (its sshd's log), .stop() (pull the plug)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from netns_hosts import Machine, machine

from harness.hosts.model import Host

MakeHost = Callable[..., Host]
MachineOf = Callable[[Host], Machine]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)


class _Machines:
    """The hosts of one test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._made: dict[str, Machine] = {}

    def make(self, name: str, **options: str) -> Host:
        scratch = self._folder / f"host-{name}"
        scratch.mkdir()
        made = self._stack.enter_context(machine(name, scratch, **options))
        self._made[name] = made
        return made.host

    def of(self, host: Host) -> Machine:
        return self._made[host.name]


@pytest.fixture
def _machines(tmp_path: Path) -> Iterator[_Machines]:
    if os.geteuid() != 0:
        pytest.skip("hosts in namespaces need root: sudo tests/run")
    with ExitStack() as stack:
        yield _Machines(tmp_path, stack)


@pytest.fixture
def make_host(_machines: _Machines) -> MakeHost:
    return _machines.make


@pytest.fixture
def machine_of(_machines: _Machines) -> MachineOf:
    return _machines.of


@pytest.fixture
def netns_host(make_host: MakeHost) -> Host:
    return make_host("neta")
