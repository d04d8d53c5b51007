"""Serve the web page: where to listen, and what that takes."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from harness.errors import InputError, UnavailableError
from harness.results.store import Store
from harness.web.app import application
from harness.web.pages import Pages

PASSWORD_VARIABLE = "NOHYPE_SERVE_PASSWORD"  # noqa: S105 - the variable's name
_SHORTEST_PASSWORD = 12  # characters; there is no limit to how often one may guess
_CONNECTIONS = 64  # at once; this is a page for a lab
_GRACE_SECONDS = 3


@dataclass(frozen=True)
class Listen:
    """Where to listen. `port` 0 takes a free one."""

    address: str
    port: int

    @property
    def loopback(self) -> bool:
        return self.address == "localhost" or ipaddress.ip_address(self.address).is_loopback


@dataclass(frozen=True)
class Tls:
    """A certificate chain and its private key, both in PEM."""

    certificate: Path
    key: Path


def parse_listen(text: str) -> Listen:
    """`127.0.0.1:8060`, `[::1]:8060`. Raises InputError."""
    address, colon, port = text.rpartition(":")
    address = address.removeprefix("[").removesuffix("]")
    try:
        if not colon or not port.isdigit() or int(port) > 65535:
            raise ValueError
        if address != "localhost":
            ipaddress.ip_address(address)
    except ValueError:
        raise InputError(
            f"{text!r} is not ADDRESS:PORT", where="--listen", fix="for example 127.0.0.1:8060, or [::1]:8060"
        ) from None
    return Listen(address, int(port))


def check_password(listen: Listen, password: str) -> None:
    """Raises InputError where others could read what is served here, and where a password is too short to be one."""
    if not password and not listen.loopback:
        raise InputError(
            "other machines could read everything without a password",
            where=f"--listen {listen.address}",
            fix=f"put one into {PASSWORD_VARIABLE}, or listen on 127.0.0.1 and come by ssh -L",
        )
    if password and len(password) < _SHORTEST_PASSWORD:
        raise InputError(
            f"the password has fewer than {_SHORTEST_PASSWORD} characters",
            where=PASSWORD_VARIABLE,
            fix="for example: openssl rand -base64 18",
        )


def serve(
    store: Store,
    listen: Listen,
    *,
    names: Iterable[str],
    password: str,
    tls: Tls | None,
    ready: Callable[[str], None],
) -> None:
    """Serve until told to end (Ctrl-C, SIGTERM); `ready` is told the address once requests are answered.

    `names` are further names under which browsers may ask. Raises InputError as `check_password` does and for a
    certificate that cannot be used, UnavailableError where it cannot listen.
    """
    check_password(listen, password)
    hosts = frozenset({"localhost", *_own_names(listen), *(name.lower() for name in names)})
    config = uvicorn.Config(
        application(Pages(store), hosts, password),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    try:
        config.load()
    except OSError as error:
        where = f"{tls.certificate}, {tls.key}" if tls else ""
        raise InputError(f"the certificate cannot be used: {error.strerror or error}", where=where) from None
    with _bound(listen) as bound:
        host = f"[{listen.address}]" if ":" in listen.address else listen.address
        ready(f"{'https' if tls else 'http'}://{host}:{bound.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[bound])


def _bound(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
    try:
        return socket.create_server((listen.address, listen.port), family=family, backlog=_CONNECTIONS)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen: {error.strerror or error}",
            where=f"{listen.address}:{listen.port}",
            fix="name another port: nohype serve --listen 127.0.0.1:8061",
        ) from None


def _own_names(listen: Listen) -> set[str]:
    """What this machine calls itself, where others may ask at all."""
    return set() if listen.loopback else {socket.gethostname().lower(), socket.getfqdn().lower()}
