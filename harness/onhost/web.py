"""Metrics over HTTP, open or with TLS and passwords, as Prometheus' own exporters have it.

The web configuration is theirs (exporter-toolkit, docs/web-configuration.md): of its keys those below, others are
refused. Hosts have no reader of YAML; there the file is JSON, which is YAML.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from .errors import AgentError

_SECTIONS = ("tls_server_config", "basic_auth_users")
_TLS_KEYS = ("cert_file", "key_file", "client_ca_file", "client_auth_type")
_CLIENT_AUTH = {  # exporter-toolkit's, which are those of Go's crypto/tls, as far as Python's ssl has them
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_SILENT_SECONDS = 30.0  # a client that says nothing for so long is let go

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WebConfig(NamedTuple):
    """Without a certificate there is no TLS; without users no password is asked for."""

    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: str = "NoClientCert"
    users: Mapping[str, str] = {}  # name -> bcrypt hash


def web_config(document: object, where: str) -> WebConfig:
    """A web configuration, checked. Raises AgentError that names what is wrong in the file `where`."""
    sections = _mapping(document, _SECTIONS, "the file", where)
    tls = _mapping(sections.get("tls_server_config"), _TLS_KEYS, "tls_server_config", where)
    users = _mapping(sections.get("basic_auth_users"), None, "basic_auth_users", where)
    found = WebConfig(**tls, users=users)
    if bool(found.cert_file) != bool(found.key_file) or (tls and not found.cert_file):
        raise AgentError("tls_server_config needs cert_file and key_file", where=where)
    if found.client_auth_type not in _CLIENT_AUTH:
        raise AgentError(
            f"client_auth_type {found.client_auth_type!r} is unknown",
            where=where,
            fix=f"one of {', '.join(_CLIENT_AUTH)}",
        )
    for name, secret in users.items():
        if not secret.startswith("$2"):
            raise AgentError(
                f"basic_auth_users: {name}: not a bcrypt hash", where=where, fix="htpasswd -nBC 10 '' prints one"
            )
    return found


def address_of(listen: str) -> tuple[str, int]:
    """Raises AgentError where it is not ADDRESS:PORT."""
    address, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise AgentError(f"{listen!r} is not ADDRESS:PORT", where="--listen", fix="for example 127.0.0.1:9177")
    return address.strip("[]") or "0.0.0.0", int(port)  # noqa: S104


def server(listen: str, registry: CollectorRegistry, config: WebConfig = WebConfig()) -> WSGIServer:  # noqa: B008
    """Listening on ADDRESS:PORT; `serve_forever` serves.

    Raises AgentError: the address is taken, a file of `config` cannot be used, bcrypt is missing.
    """
    address, port = address_of(listen)
    application: Application = make_wsgi_app(registry)
    if config.users:
        application = _Guarded(application, config.users)
    try:
        made = make_server(address, port, application, _server_class(address), handler_class=_Handler)
    except OSError as error:
        raise AgentError(f"cannot listen: {error.strerror}", where=listen) from None
    if config.cert_file:
        # The handshake is left to each connection's own thread, or one silent client would keep the others waiting.
        made.socket = _tls(config).wrap_socket(made.socket, server_side=True, do_handshake_on_connect=False)
    return made


def _mapping(value: object, keys: Iterable[str] | None, name: str, where: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AgentError(f"{name} is not a mapping", where=where)
    for key in value:
        if keys is not None and key not in keys:
            raise AgentError(f"{name}: unknown key {key!r}", where=where, fix=f"known: {', '.join(keys)}")
    return value


def _tls(config: WebConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # exporter-toolkit's default
    try:
        context.load_cert_chain(config.cert_file, config.key_file)
        if config.client_ca_file:
            context.load_verify_locations(config.client_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise AgentError(f"the certificate cannot be used: {error}", where=config.cert_file) from None
    context.verify_mode = _CLIENT_AUTH[config.client_auth_type]
    return context


class _Guarded:
    """Asks for a name and a password."""

    def __init__(self, application: Application, users: Mapping[str, str]) -> None:
        try:
            import bcrypt
        except ModuleNotFoundError:
            raise AgentError("passwords need bcrypt", where=sys.executable, fix="apt install python3-bcrypt") from None
        self._check = bcrypt.checkpw
        self._application = application
        self._users = {name: secret.encode() for name, secret in users.items()}
        # bcrypt is slow on purpose, and scrapes come every few seconds to a host that is being measured.
        self._known: set[bytes] = set()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self._admits(environ.get("HTTP_AUTHORIZATION", "")):
            return self._application(environ, start_response)
        start_response("401 Unauthorized", [("WWW-Authenticate", "Basic"), ("Content-Type", "text/plain")])
        return [b"Unauthorized\n"]

    def _admits(self, header: str) -> bool:
        kind, _, encoded = header.partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        mark = hashlib.sha256(encoded.encode()).digest()
        if mark in self._known:
            return True
        # An unknown name takes as long as a wrong password.
        secret = self._users.get(name, next(iter(self._users.values())))
        try:
            right = self._check(password.encode(), secret) and name in self._users
        except ValueError:  # a hash that is none, or a password with a NUL
            return False
        if right:
            self._known.add(mark)
        return right


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that break off, or speak no TLS, are no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6


def _server_class(address: str) -> type[_Server]:
    return _Server6 if ":" in address else _Server


class _Handler(WSGIRequestHandler):
    timeout = _SILENT_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are not logged."""
