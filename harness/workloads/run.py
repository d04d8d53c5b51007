"""Run a workload in a guest and take its figures."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import CommandError, DeadlineError, HostError, WorkloadError
from harness.results.artifacts import write_json, write_text
from harness.wait import until
from harness.workloads.model import WorkloadResult
from harness.workloads.parse import first_lines, parse
from harness.workloads.spec import Workload

if TYPE_CHECKING:
    from harness.hosts.remote import CommandResult
    from harness.hosts.ssh import HostSession

_SERVER_SECONDS = 30.0  # until a server listens; emulated hosts take some
_PORTS = range(20000, 30000)  # below Linux's ephemeral ports (32768 and up)
_NOT_FOUND = 127  # a shell's exit status


def run(
    workload: Workload,
    *,
    guest: HostSession | None,
    host: HostSession,
    gateway: str,
    vcpus: int,
    seconds: int,
    artifacts: Path,
    at_border: Callable[[], None] = lambda: None,
) -> WorkloadResult:
    """Run the workload's command for `seconds` and parse what it prints.

    `at_border` is called right before the command and right after it: then counters are read, so that what was needed
    to prepare it counts for nothing.

    `guest` may be None for workloads that run on the host; `gateway` is the host's address as the guest sees it.
    Output and errors are kept in `artifacts` before anything is made of them.
    Raises WorkloadError (failed, overran its time, printed garbage), StorageError, and what sessions raise when host
    or guest are lost.
    """
    session = host if workload.runs == "host" else guest
    if session is None or workload.command is None:
        raise WorkloadError(f"workload {workload.name} cannot be run like this: no guest, or it is a boot")
    limit = seconds + workload.timeout
    port = _free_port(host) if workload.server else 0
    values = {"seconds": str(seconds), "vcpus": str(vcpus), "gateway": gateway, "port": str(port)}
    command = _filled(workload.command, values)
    write_json(artifacts / "command.json", command)
    with _server(workload, host, values, limit, artifacts):
        at_border()
        result = _run(workload, session, command, limit)
        at_border()
    write_text(artifacts / "output.txt", result.stdout)
    if result.stderr:
        write_text(artifacts / "errors.txt", result.stderr)
    _check(workload, session, result)
    return WorkloadResult(result.seconds, parse(workload, result.stdout, session.host_name))


def _filled(words: Sequence[str], values: dict[str, str]) -> list[str]:
    return [word.format_map(values) for word in words]


def _run(workload: Workload, session: HostSession, command: list[str], limit: float) -> CommandResult:
    try:
        return session.run(command, timeout=limit, check=False)
    except DeadlineError as error:
        raise WorkloadError(
            f"workload {workload.name}: {error.what}",
            where=error.where,
            fix=f"if the host is slow, raise timeout in workloads/{workload.name}.yml",
        ) from None


def _check(workload: Workload, session: HostSession, result: CommandResult) -> None:
    if result.exit_code == 0:
        return
    place = "on the host" if workload.runs == "host" else "in the guest"
    if result.exit_code == _NOT_FOUND:
        raise WorkloadError(
            f"workload {workload.name}: there is no program {result.argv[0]!r} {place}",
            where=session.host_name,
            fix="hosts get theirs from role base, guests from the guest image (nohype image build)",
        )
    how = "was killed" if result.exit_code < 0 else f"ended with status {result.exit_code}"
    said = _complaint(result.stdout) or first_lines(result.stderr or result.stdout)
    raise WorkloadError(f"workload {workload.name}: {result.argv[0]} {how}: {said}", where=session.host_name)


def _complaint(output: str) -> str:
    """What iperf3 has to say: with -J its error is part of the document."""
    try:
        document = json.loads(output)
    except ValueError:
        return ""
    return str(document.get("error", "")) if isinstance(document, dict) else ""


@contextlib.contextmanager
def _server(
    workload: Workload, host: HostSession, values: dict[str, str], limit: float, artifacts: Path
) -> Iterator[None]:
    """The workload's server listens on the host within, if it has one."""
    if not workload.server:
        yield
        return
    server = _filled(workload.server, values)
    write_json(artifacts / "server.json", server)
    port = int(values["port"])
    try:
        # `timeout` ends it also where this controller is killed and cannot.
        with host.background(["timeout", f"{limit + _SERVER_SECONDS:.0f}", *server]):
            until(lambda: _listens(host, port), seconds=_SERVER_SECONDS, what=f"listening of {server[0]}")
            yield
    except (CommandError, DeadlineError) as error:
        raise WorkloadError(f"workload {workload.name}: its server: {error.what}", where=host.host_name) from None


def _listens(host: HostSession, port: int) -> bool:
    """Whether anything is bound to the TCP port on the host."""
    return bool(host.run(["ss", "-Htln", f"sport = :{port}"]).stdout.strip())


def _free_port(host: HostSession) -> int:
    """A port nobody listens on; by chance, so that a server left over by a killed controller is not in the way."""
    for _ in range(20):
        port = secrets.choice(_PORTS)
        if not _listens(host, port):
            return port
    raise HostError("no free port was found in 20 tries", where=host.host_name)
