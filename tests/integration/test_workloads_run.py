"""Running workloads over real SSH. One host stands for both, host and guest: what runs there is no matter here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import WorkloadError
from harness.hosts.model import Host
from harness.hosts.ssh import HostSession, connect
from harness.workloads.run import run
from harness.workloads.spec import Workload

# A request and an answer; the server ends after one of them, as iperf3 --one-off does.
SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    connection, _ = server.accept()
    connection.sendall(b"took 42 us\\n")
"""
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
    print(connection.makefile().read())
"""


def workload(**changes: object) -> Workload:
    base: dict[str, object] = {
        "name": "probe",
        "title": "Probe",
        "description": "For tests.",
        "command": ["echo", "took 7 us on {vcpus} vCPUs in {seconds} s"],
        "metrics": [{"name": "took", "unit": "us", "direction": "lower", "parse": {"regex": r"took (\d+) us"}}],
    }
    return Workload.model_validate(base | changes)


@pytest.fixture
def session(netns_host: Host) -> Iterator[HostSession]:
    with connect(netns_host) as made:
        yield made


class Runner:
    def __init__(self, session: HostSession, folder: Path) -> None:
        self.session = session
        self.folder = folder

    def __call__(self, workload: Workload, seconds: int = 1) -> float:
        done = run(
            workload,
            guest=self.session,
            host=self.session,
            gateway="127.0.0.1",
            vcpus=2,
            seconds=seconds,
            artifacts=self.folder,
        )
        return done.metrics[0].value


@pytest.fixture
def runner(session: HostSession, tmp_path: Path) -> Runner:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    return Runner(session, folder)


def test_output_and_command_are_kept(runner: Runner) -> None:
    assert runner(workload()) == 7
    assert (runner.folder / "output.txt").read_text() == "took 7 us on 2 vCPUs in 1 s\n"
    assert json.loads((runner.folder / "command.json").read_text()) == ["echo", "took 7 us on 2 vCPUs in 1 s"]


def test_words_are_never_read_by_a_shell(runner: Runner) -> None:
    assert runner(workload(command=["echo", "took 7 us; $(rm -rf /tmp/x) `id` > /tmp/y"])) == 7
    assert (runner.folder / "output.txt").read_text() == "took 7 us; $(rm -rf /tmp/x) `id` > /tmp/y\n"


def test_a_server_runs_on_the_host_until_the_command_has_ended(runner: Runner) -> None:
    served = workload(
        needs={"network": True},
        server=["python3", "-c", SERVER, "{gateway}", "{port}"],
        command=["python3", "-c", CLIENT, "{gateway}", "{port}"],
    )
    assert runner(served) == 42
    assert runner.session.run(["ss", "-Htln", "sport != :22"]).stdout == ""


def test_borders_are_the_commands_own(session: HostSession, tmp_path: Path) -> None:
    """The server is up at the first one, and the command has left its mark at the second one."""
    seen: list[tuple[bool, bool]] = []

    def at_border() -> None:
        listens = session.run(["ss", "-Htln", "sport != :22"]).stdout != ""
        seen.append((listens, session.run(["test", "-e", "/tmp/mark"], check=False).exit_code == 0))

    stays = workload(
        needs={"network": True},
        server=["python3", "-c", SERVER, "{gateway}", "{port}"],
        command=["sh", "-c", "touch /tmp/mark; echo took 1 us"],
    )
    places = {"guest": session, "host": session, "gateway": "127.0.0.1", "artifacts": tmp_path}
    run(stays, vcpus=1, seconds=1, at_border=at_border, **places)  # type: ignore[arg-type]
    assert seen == [(True, False), (True, True)]


def test_a_server_that_would_stay_is_ended(runner: Runner) -> None:
    stays = workload(
        needs={"network": True},
        server=["python3", "-c", SERVER, "{gateway}", "{port}"],
        command=["echo", "took 1 us"],  # never connects
    )
    assert runner(stays) == 1
    assert runner.session.run(["ss", "-Htln", "sport != :22"]).stdout == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": ["no-such-program"]}, "workload probe: there is no program 'no-such-program' in the guest"),
        (
            {"command": ["sh", "-c", "echo it broke >&2; exit 3"]},
            "workload probe: sh ended with status 3: it broke",
        ),
        (
            {"command": ["sh", "-c", 'echo \'{{"error": "refused"}}\'; exit 1']},
            "workload probe: sh ended with status 1: refused",
        ),
        ({"command": ["sh", "-c", "kill -9 $$"]}, "workload probe: sh was killed: (nothing)"),
        ({"command": ["sleep", "30"], "timeout": 1}, "workload probe: `sleep 30` was still running after 2 s"),
        ({"command": ["echo", "garbage"]}, "workload probe: the output lacks took by the pattern"),
        (
            {"needs": {"network": True}, "server": ["sh", "-c", "echo no port >&2; exit 4"]},
            "workload probe: its server: `timeout ",
        ),
    ],
)
def test_failures(runner: Runner, changes: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.workloads.run._SERVER_SECONDS", 2.0)
    with pytest.raises(WorkloadError) as error:
        runner(workload(**changes))
    assert error.value.what.startswith(message)
    assert runner.session.run(["pgrep", "-x", "sleep"], check=False).stdout == ""


def test_what_a_failed_workload_printed_is_kept(runner: Runner) -> None:
    with pytest.raises(WorkloadError):
        runner(workload(command=["sh", "-c", "echo out; echo err >&2; exit 1"]))
    assert (runner.folder / "output.txt").read_text() == "out\n"
    assert (runner.folder / "errors.txt").read_text() == "err\n"
