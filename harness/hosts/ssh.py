"""Commands and files on a host or guest, over one verified SSH connection."""

from __future__ import annotations

import io
import queue
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import paramiko

from harness.errors import (
    CommandError,
    DeadlineError,
    GuestError,
    HarnessError,
    HostError,
    HostUnreachableError,
    NotProvisionedError,
    UnavailableError,
)
from harness.hosts.agent import AGENT, AgentEnded, AgentProcess
from harness.hosts.link import Link, pinned, read_known_hosts, why
from harness.hosts.model import Host
from harness.hosts.remote import CommandResult, RemoteCommand, shown, tail

_LOST = (paramiko.SSHException, OSError, EOFError)
# sudo 1.9 and sudo-rs, when there is no password to be had or nothing is allowed.
_NO_SUDO = re.compile(
    r"^sudo: (a password is required|a terminal is required|interactive authentication is required"
    r"|.*may not run sudo|.*not allowed)"
    r"|is not in the sudoers file|is not allowed to execute|sudo: (command )?not found",
    re.MULTILINE,
)
_NO_AGENT = re.compile(rf"{AGENT}: (command )?not found")

# "$1" mode, "$2" path, "$3" size. Written beside its place and renamed: a cut connection leaves no half file.
_RECEIVE = """
set -e
part=$2.nohype-part
trap 'rm -f -- "$part"' EXIT
umask 077
cat >"$part"
[ "$(stat -c %s -- "$part")" = "$3" ]
chmod -- "$1" "$part"
mv -fT -- "$part" "$2"
"""


def connect(host: Host, *, timeout: float = 15) -> HostSession:
    """Log in to a host; `timeout` (seconds) is for each stage: TCP, banner, authentication.

    Raises HostUnreachableError, HostKeyError, and UnavailableError where login is refused or a file is missing.
    """
    keys = read_known_hosts(host.known_hosts, host.name)
    link = Link(
        *(host.name, host.address, host.port, host.user, host.private_key, keys),
        known=str(host.known_hosts),
        timeout=timeout,
    )
    return HostSession(link, host.user)


class HostSession:
    """A logged-in host or guest. Use as a context manager; one connection serves every call."""

    def __init__(self, link: Link, user: str, through: HostSession | None = None) -> None:
        self._link = link
        self._user = user
        self._through = through
        self._agent: AgentProcess | None = None
        self._agent_lock = threading.Lock()

    @property
    def host_name(self) -> str:
        """The host's name in the inventory; for a guest its address and its host's name."""
        return self._link.name

    def __enter__(self) -> HostSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. Commands still running may go on there."""
        self._end_agent()
        self._link.close()

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout: float = 60,
        sudo: bool = False,
        check: bool = True,
    ) -> CommandResult:
        """Run `argv` to its end; no shell sees it but for quoting. `timeout` in seconds of our clock.

        Raises CommandError (non-zero status, with `check`), DeadlineError (the command has been killed),
        UnavailableError (no passwordless sudo), HostUnreachableError (GuestError for a guest whose host still answers).
        """
        source = io.BytesIO(stdin.encode()) if stdin is not None else None
        return self._run(argv, source, None, timeout=timeout, sudo=sudo, check=check)

    def agent(self, *args: str, payload: object | None = None, timeout: float = 60) -> object:
        """Ask the host's `nohype-host`: JSON in (`payload`), JSON out.

        Raises HostError with the reason the host gives; UnavailableError where it is not installed.
        """
        where = f"{self.host_name}: {AGENT} {' '.join(args)}"
        with self._agent_lock:
            try:
                self._agent = self._agent or AgentProcess(self._start_agent)
                answer = self._agent.ask(args, payload, timeout)
            except queue.Empty:
                self._end_agent(kill=True)
                raise DeadlineError(f"no answer after {timeout:g} s", where=where) from None
            except ValueError as error:
                self._end_agent(kill=True)
                raise HostError(f"answer cannot be understood: {error}", where=where) from None
            except AgentEnded as end:
                self._end_agent()
                raise self._without_agent(end, where) from None
        if "error" not in answer:
            return answer["result"]
        told = answer["error"]
        inner = str(told.get("where", ""))
        raise HostError(str(told["what"]), where=f"{where}: {inner}" if inner else where, fix=str(told.get("fix", "")))

    @contextmanager
    def background(self, argv: Sequence[str], *, sudo: bool = False) -> Iterator[None]:
        """Run a server for the length of the with-block, and kill it then.

        Raises CommandError when it failed by itself before the end of the block.
        """
        start = time.monotonic()
        command = self._start(argv, None, None, sudo)
        try:
            yield
        finally:
            status = command.wait(0)
            if status is None:
                command.kill(become_root=self._becomes_root(sudo))
            elif status != 0:
                self._ended(tuple(argv), command, status, start, sudo=sudo, check=True)

    def upload(self, local: Path, remote: str, *, sudo: bool = False, mode: int = 0o644) -> None:
        """Copy a file to `remote` (a full path); it appears there whole or not at all."""
        argv = ["sh", "-c", _RECEIVE, "upload", f"{mode:o}", remote, str(local.stat().st_size)]
        with local.open("rb") as source:
            self._run(argv, source, None, timeout=_transfer_seconds(local.stat().st_size), sudo=sudo, check=True)

    def download(self, remote: str, local: Path, *, sudo: bool = False) -> None:
        """Copy a file from there; `local` is replaced when all of it has arrived.

        Raises OSError where it cannot be written here.
        """
        size = int(self.run(["stat", "-L", "-c", "%s", "--", remote], sudo=sudo).stdout)
        part = local.with_name(f"{local.name}.part-{threading.get_ident()}")
        try:
            with part.open("wb") as sink:
                self._run(["cat", "--", remote], None, sink, timeout=_transfer_seconds(size), sudo=sudo, check=True)
            part.replace(local)
        finally:
            part.unlink(missing_ok=True)

    def tcp_open(self, address: str, port: int, timeout: float) -> bool:
        """Whether an SSH server answers at `address` as seen from this host: its banner has arrived in time.

        Raises HostUnreachableError when this host itself is lost.
        """
        deadline = time.monotonic() + timeout
        try:
            channel = self._link.transport.open_channel(
                "direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=timeout
            )
        except paramiko.ChannelException:
            return False  # refused there: the connection itself is fine
        except _LOST:
            if not self._link.lost():
                return False
            raise self._lost() from None
        try:
            channel.settimeout(max(deadline - time.monotonic(), 0.001))
            return channel.recv(4) == b"SSH-"
        except _LOST:
            return False
        finally:
            channel.close()

    def jump(
        self, address: str, *, user: str, private_key: Path, host_keys: Sequence[str], timeout: float
    ) -> HostSession:
        """Log in to a guest through this host. Its key must be one of `host_keys` (`ssh-ed25519 AAAA...`).

        Raises GuestError where the guest does not answer, HostUnreachableError where this host does not.
        """
        name = f"{self.host_name}/{address}"
        try:
            channel = self._link.transport.open_channel(
                "direct-tcpip", (address, 22), ("127.0.0.1", 0), timeout=timeout
            )
            link = Link(
                *(name, address, 22, user, private_key, pinned(address, host_keys)),
                known="its image's manifest",
                timeout=timeout,
                channel=channel,
            )
        except (*_LOST, HostUnreachableError) as error:
            if self._link.lost():
                raise self._lost() from None
            reason = error.what if isinstance(error, HarnessError) else f"no SSH connection: {why(error)}"
            raise GuestError(f"the guest does not answer: {reason}", where=name, fix="look at its console") from None
        return HostSession(link, user, through=self)

    def _start_agent(self, stdin: BinaryIO, stdout: BinaryIO) -> RemoteCommand:
        return self._start([AGENT, "serve"], stdin, stdout, sudo=True)

    def _end_agent(self, *, kill: bool = False) -> None:
        agent, self._agent = self._agent, None
        if agent:
            agent.close()
            if kill:
                agent.command.kill(become_root=self._becomes_root(True))

    def _without_agent(self, end: AgentEnded, where: str) -> HarnessError:
        """Why there is no agent to talk to."""
        if self._link.lost():
            return self._lost()
        if _NO_AGENT.search(end.stderr):
            return NotProvisionedError(
                f"{AGENT} is not installed",
                where=self.host_name,
                fix=f"nohype provision --stack kvm --limit {self.host_name}",
            )
        if _NO_SUDO.search(end.stderr):
            return self._no_sudo(end.stderr)
        return HostError(
            f"ended with status {end.status}: {tail(end.stderr)}",
            where=where,
            fix=f"if it is of another version: nohype provision --stack kvm --limit {self.host_name}",
        )

    def _no_sudo(self, stderr: str) -> UnavailableError:
        return UnavailableError(
            f"no passwordless sudo for user {self._user}: {tail(stderr)}",
            where=self.host_name,
            fix=f"on the host, as root: echo '{self._user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/nohype",
        )

    def _becomes_root(self, sudo: bool) -> bool:
        return sudo and self._user != "root"

    def _start(self, argv: Sequence[str], stdin: BinaryIO | None, stdout: BinaryIO | None, sudo: bool) -> RemoteCommand:
        words = ["sudo", "-n", "--", *argv] if self._becomes_root(sudo) else list(argv)
        try:
            return RemoteCommand(self._link.transport, words, stdin=stdin, stdout=stdout)
        except _LOST as error:
            if not self._link.lost():
                raise HostError(
                    f"no new SSH channel: {error}", where=self.host_name, fix="sshd's MaxSessions may be too low"
                ) from None
            raise self._lost() from None

    def _run(
        self,
        argv: Sequence[str],
        stdin: BinaryIO | None,
        stdout: BinaryIO | None,
        *,
        timeout: float,
        sudo: bool,
        check: bool,
    ) -> CommandResult:
        start = time.monotonic()
        command = self._start(argv, stdin, stdout, sudo)
        try:
            status = command.wait(timeout)
        except BaseException:  # Ctrl-C, or nowhere to put the output: nothing stays behind there
            command.kill(become_root=self._becomes_root(sudo))
            raise
        if status is not None:
            return self._ended(tuple(argv), command, status, start, sudo=sudo, check=check)
        if not command.kill(become_root=self._becomes_root(sudo)):
            self._link.give_up(f"`{shown(argv)}` overran {timeout:g} s and could not even be killed")
            raise self._lost()
        raise DeadlineError(f"`{shown(argv)}` was still running after {timeout:g} s", where=self.host_name)

    def _ended(
        self, argv: tuple[str, ...], command: RemoteCommand, status: int, start: float, *, sudo: bool, check: bool
    ) -> CommandResult:
        if status == -1 and self._link.lost():
            raise self._lost()
        stdout, stderr = (data.decode(errors="replace") for data in (command.stdout, command.stderr))
        result = CommandResult(argv, status, stdout, stderr, time.monotonic() - start)
        if self._becomes_root(sudo) and status != 0 and _NO_SUDO.search(stderr):
            raise self._no_sudo(stderr)
        if check and status != 0:
            how = "was killed by a signal" if status == -1 else f"ended with status {status}"
            said = tail(stderr) or tail(stdout)
            raise CommandError(f"`{shown(argv)}` {how}" + (f": {said}" if said else ""), where=self.host_name)
        return result

    def _lost(self) -> HarnessError:
        """The right error for a dead connection: only a host may be power-cycled for it, not the host of a guest."""
        if self._through is not None and not self._through._link.lost():
            return GuestError(f"the guest is gone: {self._link.reason}", where=self.host_name)
        link = self._through._link if self._through is not None else self._link
        return HostUnreachableError(
            f"the host is gone: {link.reason}",
            where=link.name,
            fix="is it on? nohype doctor looks; nohype hosts power NAME cycle restarts it",
        )


def _transfer_seconds(size: int) -> float:
    return 60 + size / 1_000_000  # 1 MB/s is what the slowest host seen (emulated, busy) still does
