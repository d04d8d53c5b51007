"""Open an SSH connection, with the host's key verified, and notice when the other side falls silent."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry, HostKeys
from paramiko.ssh_exception import NoValidConnectionsError

from harness.errors import HostKeyError, HostUnreachableError, UnavailableError

# Silence for a minute: an emulated host under load has been seen to take many seconds for one answer.
PULSE_SECONDS = 10.0
SILENCE_SECONDS = 60.0
_END_SECONDS = 0.5

# Failures come out as exceptions; without a handler Python would print paramiko's tracebacks as well.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class _Refuse(paramiko.MissingHostKeyPolicy):
    """paramiko.RejectPolicy with an error that tells what to do."""

    def __init__(self, name: str, known: str) -> None:
        self._name = name
        self._known = known

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        raise HostKeyError(
            f"its host key is not known: it answered with {key.get_name()} {key.fingerprint}",
            where=f"{self._name} ({hostname})",
            fix=f"if the host's console shows that fingerprint (ssh-keygen -l), add its key to {self._known}",
        )


class Link:
    """One verified SSH connection with a keepalive. Safe to use from several threads; close it when done."""

    def __init__(
        self,
        name: str,
        address: str,
        port: int,
        user: str,
        private_key: Path,
        host_keys: HostKeys,
        *,
        known: str,
        timeout: float,
        channel: paramiko.Channel | None = None,
    ) -> None:
        """Connect and log in. `known` names where `host_keys` come from; `channel` leads there through another host.

        Raises HostUnreachableError, HostKeyError, UnavailableError (no usable key, login refused).
        """
        self.name = name
        self._stop = threading.Event()
        self._reason = "the connection was lost"
        if not private_key.is_file():
            raise UnavailableError(
                "the private key does not exist", where=f"{name}: {private_key}", fix="make it, or mend the inventory"
            )
        self._client = paramiko.SSHClient()
        self._client.get_host_keys().update(host_keys)
        self._client.set_missing_host_key_policy(_Refuse(name, known))
        try:
            self._client.connect(
                address,
                port=port,
                username=user,
                key_filename=str(private_key),
                look_for_keys=False,
                timeout=timeout,
                banner_timeout=timeout,
                auth_timeout=timeout,
                channel_timeout=timeout,
                sock=channel,
            )
            transport = self._client.get_transport()
            assert transport is not None
        except BaseException as error:
            self._client.close()
            if isinstance(error, paramiko.SSHException | OSError | EOFError):
                raise _explained(error, name, f"{user}@{address}:{port}", known, private_key) from None
            raise
        self.transport: paramiko.Transport = transport
        threading.Thread(target=self._pulse, name=f"pulse {name}", daemon=True).start()

    def lost(self) -> bool:
        """Whether the connection is dead. May take half a second to say no."""
        # paramiko closes a dead connection's channels before it says so: give its thread time to end.
        self.transport.join(_END_SECONDS)
        return not self.transport.is_active()

    @property
    def reason(self) -> str:
        """Why, once `lost`."""
        return self._reason

    def close(self) -> None:
        self._stop.set()
        self._client.close()

    def _pulse(self) -> None:
        """Ask for an answer now and then: a host that hangs keeps its TCP connections, so TCP alone will not tell."""
        while not self._stop.wait(PULSE_SECONDS) and self.transport.is_active():
            alarm = threading.Timer(SILENCE_SECONDS, self.give_up, [f"it fell silent for {SILENCE_SECONDS:g} s"])
            alarm.daemon = True
            alarm.start()
            with contextlib.suppress(paramiko.SSHException, OSError, EOFError):  # the next one to use it will see
                self.transport.global_request("keepalive@openssh.com", wait=True)
            alarm.cancel()

    def give_up(self, reason: str) -> None:
        """Close the connection because the other side does not behave."""
        self._reason = reason
        self._client.close()


def read_known_hosts(path: Path, host_name: str) -> HostKeys:
    """The keys of an OpenSSH known_hosts file. Raises UnavailableError when it cannot be read."""
    keys = HostKeys()
    try:
        keys.load(str(path))
    except OSError as error:
        raise UnavailableError(
            f"the known_hosts file cannot be read: {error.strerror}",
            where=f"{host_name}: {path}",
            fix="take the host's key from its console or its installation (ssh-keygen -y), never from the network",
        ) from None
    return keys


def pinned(address: str, keys: Sequence[str]) -> HostKeys:
    """Host keys for one address from lines such as `ssh-ed25519 AAAA...`."""
    found = HostKeys()
    for key in keys:
        entry = HostKeyEntry.from_line(f"{address} {key}")
        if entry is not None and entry.key is not None:
            found.add(address, entry.key.get_name(), entry.key)
    return found


def _explained(
    error: Exception, name: str, login: str, known: str, private_key: Path
) -> HostUnreachableError | HostKeyError | UnavailableError:
    if isinstance(error, paramiko.BadHostKeyException):
        return HostKeyError(
            f"its host key changed: it answered with {error.key.get_name()} {error.key.fingerprint}, "
            f"known is {error.expected_key.fingerprint}",
            where=f"{name} ({login})",
            fix=f"find out why; if it was reinstalled, replace its key in {known} with the one its console shows",
        )
    if isinstance(error, paramiko.PasswordRequiredException):
        return UnavailableError(
            "the private key has a passphrase",
            where=str(private_key),
            fix=f"load it into an agent: ssh-add {private_key}",
        )
    # Paramiko says the same of a server that refuses and of one that falls silent or goes away meanwhile.
    silent = any(mark in str(error) for mark in ("timeout", "transport shut down"))
    if isinstance(error, paramiko.AuthenticationException) and not silent:
        return UnavailableError(
            f"login refused for the key {private_key}",
            where=f"{name} ({login})",
            fix=f"put {private_key}.pub into authorized_keys of that user on the host",
        )
    return HostUnreachableError(
        f"no SSH connection: {why(error)}",
        where=f"{name} ({login})",
        fix="is it on? nohype doctor looks; nohype hosts power NAME cycle restarts it",
    )


def why(error: Exception) -> str:
    """A connection's failure in a few words."""
    if isinstance(error, paramiko.ChannelException):
        return error.text.lower()
    if isinstance(error, NoValidConnectionsError):
        return ", ".join(sorted({str(getattr(each, "strerror", each)).lower() for each in error.errors.values()}))
    if isinstance(error, socket.gaierror):
        return f"no such name: {error.strerror}"
    if isinstance(error, TimeoutError) or "banner" in str(error):
        return "no answer"
    return str(error) or type(error).__name__  # paramiko leaves the text empty for a peer that hangs up
