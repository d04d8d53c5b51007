"""HostSession over real SSH: commands, files, the agent, and everything that can go wrong on the way."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from netns_hosts import Machine

from harness.errors import (
    CommandError,
    DeadlineError,
    GuestError,
    HostError,
    HostKeyError,
    HostUnreachableError,
    UnavailableError,
)
from harness.hosts.model import Host
from harness.hosts.ssh import HostSession, connect
from harness.provision import agent_bundle
from harness.wait import until

MakeHost = Callable[..., Host]
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBcD6n3rLHkJYyVpN0Qq1bGQ2j3kYp2Vh3J4tQ8sHn0M"


@pytest.fixture
def session(netns_host: Host) -> Iterator[HostSession]:
    with connect(netns_host) as made:
        yield made


@pytest.fixture
def alive(netns_host: Host, machine_of: Callable[[Host], Machine]) -> Callable[[str], bool]:
    """Whether a process with this word as an argument runs on the host."""
    return machine_of(netns_host).runs


def test_arguments_and_input_arrive_as_they_are(session: HostSession) -> None:
    words = ["a b", "$HOME", "'", '"', ";true", "", "x\ny"]
    done = session.run(["printf", "%s|", *words])
    assert (done.exit_code, done.stdout) == (0, "|".join(words) + "|")
    assert session.run(["cat"], stdin="grüße\n").stdout == "grüße\n"
    assert session.run(["id", "-un"], sudo=True).stdout == "root\n"


def test_a_command_that_fails_says_what_it_said(session: HostSession) -> None:
    with pytest.raises(CommandError, match="ended with status 2: no such thing") as caught:
        session.run(["sh", "-c", "echo no such thing >&2; exit 2"])
    assert caught.value.where == "neta"
    assert session.run(["sh", "-c", "exit 7"], check=False).exit_code == 7
    with pytest.raises(CommandError, match="was killed by a signal"):
        session.run(["sh", "-c", "kill -KILL $$"])


@pytest.mark.parametrize("sudo", [False, True])
def test_a_command_that_overruns_is_killed_with_its_children(
    session: HostSession, alive: Callable[[str], bool], sudo: bool
) -> None:
    mark = "6161"
    with pytest.raises(DeadlineError, match="still running after 1 s"):
        session.run(["sh", "-c", f"sleep {mark}; true"], timeout=1, sudo=sudo)
    until(lambda: not alive(mark), seconds=10, what="end of the command")
    assert session.run(["true"]).exit_code == 0


def test_a_server_runs_for_the_block_alone(session: HostSession, alive: Callable[[str], bool]) -> None:
    mark = "6262"
    with session.background(["sleep", mark], sudo=True):
        until(lambda: alive(mark), seconds=10, what="start of the server")
    until(lambda: not alive(mark), seconds=10, what="end of the server")
    with pytest.raises(CommandError, match="status 3"), session.background(["sh", "-c", "exit 3"]):
        session.run(["sleep", "1"])


def test_files_go_there_and_back_whole(session: HostSession, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(3_000_000))
    session.upload(source, "/opt/it's here", sudo=True, mode=0o600)
    with pytest.raises(CommandError, match="Permission denied"):
        session.download("/opt/it's here", back)
    assert not back.exists()
    session.download("/opt/it's here", back, sudo=True)
    assert back.read_bytes() == source.read_bytes()
    assert session.run(["stat", "-c", "%a %U", "/opt/it's here"], sudo=True).stdout == "600 root\n"
    with pytest.raises(CommandError):
        session.upload(source, "/nowhere/file", sudo=True)


def test_a_wrong_host_key_is_refused(make_host: MakeHost) -> None:
    host = make_host("netk", known_key=OTHER_KEY)
    with pytest.raises(HostKeyError, match=r"its host key changed: it answered with ssh-ed25519 SHA256:") as caught:
        connect(host)
    assert "find out why" in caught.value.fix


def test_no_sudo_is_told_with_what_to_do(make_host: MakeHost) -> None:
    host = make_host("netp", user="plain")
    with connect(host) as session:
        assert session.run(["id", "-un"]).stdout == "plain\n"
        with pytest.raises(UnavailableError, match="no passwordless sudo for user plain") as caught:
            session.run(["true"], sudo=True)
        assert "/etc/sudoers.d/nohype" in caught.value.fix
        with pytest.raises(UnavailableError, match="no passwordless sudo for user plain"):
            session.agent("facts")


def test_a_host_that_is_off(netns_host: Host, machine_of: Callable[[Host], Machine]) -> None:
    machine_of(netns_host).stop()
    with pytest.raises(HostUnreachableError, match="no SSH connection"):
        connect(netns_host, timeout=2)


def test_a_host_that_is_switched_off_under_a_command(
    netns_host: Host, machine_of: Callable[[Host], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.hosts.link.PULSE_SECONDS", 0.2)
    monkeypatch.setattr("harness.hosts.link.SILENCE_SECONDS", 1.0)
    with connect(netns_host) as session:
        plug = threading.Timer(1, machine_of(netns_host).stop)
        plug.start()
        start = time.monotonic()
        with pytest.raises(HostUnreachableError, match="the host is gone"):
            session.run(["sleep", "60"])
        plug.join()  # else its last step may come after the fixture's end, and bar the next test's host
        assert time.monotonic() - start < 30
        with pytest.raises(HostUnreachableError):
            session.run(["true"])


def test_a_guest_is_reached_through_its_host(make_host: MakeHost, netns_host: Host) -> None:
    guest = make_host("netg")
    key = guest.known_hosts.read_text(encoding="utf-8").split(maxsplit=1)[1].strip()
    with connect(netns_host) as session:
        assert session.tcp_open("127.0.0.1", 22, timeout=10)
        assert not session.tcp_open("127.0.0.1", 23, timeout=10)
        login = {"user": "nohype", "private_key": netns_host.private_key, "timeout": 10}
        with session.jump("127.0.0.1", host_keys=[_key_of(netns_host)], **login) as inner:  # type: ignore[arg-type]
            assert inner.host_name == "neta/127.0.0.1"
            assert inner.run(["hostname"]).stdout == "neta\n"
        with pytest.raises(HostKeyError):
            session.jump("127.0.0.1", host_keys=[key], **login)  # type: ignore[arg-type]
        with pytest.raises(GuestError, match="the guest does not answer"):
            session.jump("192.0.2.1", host_keys=[], **{**login, "timeout": 2})  # type: ignore[arg-type]
        assert session.run(["true"]).exit_code == 0


def _key_of(host: Host) -> str:
    return host.known_hosts.read_text(encoding="utf-8").split(maxsplit=1)[1].strip()


def install_agent(machine: Machine, tmp_path: Path) -> Path:
    target = machine.root / "usr/local/sbin/nohype-host"
    shutil.copy(agent_bundle.build(tmp_path / "nohype-host"), target)
    target.chmod(target.stat().st_mode | stat.S_IXUSR)
    return target


def test_without_agent(session: HostSession) -> None:
    for _ in range(2):
        with pytest.raises(UnavailableError, match="nohype-host is not installed") as caught:
            session.agent("exits")
        assert caught.value.fix == "nohype provision --stack kvm --limit neta"


def test_one_agent_answers_many_questions(
    session: HostSession, netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    install_agent(machine_of(netns_host), tmp_path)
    facts = session.agent("facts")
    assert isinstance(facts, dict)
    assert facts["cores"] == os.cpu_count()
    with pytest.raises(HostError, match="no guest 'x' since this host booted") as caught:
        session.agent("guest", "destroy", "x")
    assert caught.value.where == "neta: nohype-host guest destroy x"
    with pytest.raises(HostError, match="unknown key") as caught:
        session.agent("guest", "create", payload={"nme": "x"})
    assert session.agent("guest", "list") == []
    running = session.run(["pgrep", "-c", "-f", "^/usr/bin/python3 .*nohype-host serve"]).stdout
    assert int(running) == 1
    session.close()
    until(lambda: not machine_of(netns_host).runs("/usr/local/sbin/nohype-host"), seconds=10, what="end of the agent")


def test_an_agent_that_is_killed_or_of_another_version(
    session: HostSession, netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    target = install_agent(machine_of(netns_host), tmp_path)
    assert session.agent("guest", "list") == []
    session.run(["pkill", "-KILL", "-f", "[n]ohype-host serve"], sudo=True)
    with pytest.raises(HostError, match="ended with status"):
        session.agent("guest", "list")
    assert session.agent("guest", "list") == []  # another one was started
    session.run(["pkill", "-KILL", "-f", "[n]ohype-host serve"], sudo=True, check=False)
    target.write_text("#!/bin/sh\necho 'unknown command: serve' >&2; exit 1\n", encoding="ascii")
    for _ in range(2):
        with pytest.raises(HostError, match="ended with status") as caught:
            session.agent("guest", "list")
    assert "of another version: nohype provision" in caught.value.fix


def test_an_agent_that_does_not_answer(
    session: HostSession, netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    mark = "6363"
    machine = machine_of(netns_host)
    target = install_agent(machine, tmp_path)
    target.write_text(f"#!/bin/sh\nsleep {mark}\n", encoding="ascii")
    with pytest.raises(DeadlineError, match="no answer after 1 s"):
        session.agent("guest", "list", timeout=1)
    until(lambda: not machine.runs(mark), seconds=10, what="end of the agent")
