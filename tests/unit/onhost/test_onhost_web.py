"""TLS and passwords of an exporter, tried by real connections."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest
from certificates import self_signed
from prometheus_client import CollectorRegistry, Gauge

from harness.onhost.errors import AgentError
from harness.onhost.web import WebConfig, server, web_config

USERS = {"prometheus": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("certificate"))


@contextmanager
def serving(config: WebConfig) -> Iterator[int]:
    registry = CollectorRegistry()
    Gauge("answer", "An answer", registry=registry).set(42)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with server(f"127.0.0.1:{port}", registry, config) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield port
        finally:
            made.shutdown()
            thread.join()


def get(url: str, user: str = "", trusted: Path | None = None) -> str:
    request = urllib.request.Request(url)
    if user:
        request.add_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    context = ssl.create_default_context(cafile=str(trusted)) if trusted else None
    with urllib.request.urlopen(request, timeout=10, context=context) as reply:
        return str(reply.read().decode())


def test_a_password_is_asked_for() -> None:
    with serving(WebConfig(users=USERS)) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        for _again in range(2):  # the second is known already
            assert "answer 42.0" in get(url, "prometheus:secret")
        for wrong in ("", "prometheus:wrong", "nobody:secret", "prometheus"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                get(url, wrong)


def test_only_tls_is_answered(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    with serving(WebConfig(cert_file=str(cert), key_file=str(key), users=USERS)) as port:
        assert "answer 42.0" in get(f"https://127.0.0.1:{port}/metrics", "prometheus:secret", cert)
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            get(f"https://127.0.0.1:{port}/metrics", "prometheus:secret")
        with pytest.raises((OSError, urllib.error.URLError)):
            get(f"http://127.0.0.1:{port}/metrics", "prometheus:secret")


def test_a_silent_client_does_not_keep_others_waiting(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    with (
        serving(WebConfig(cert_file=str(cert), key_file=str(key))) as port,
        socket.create_connection(("127.0.0.1", port)),
    ):
        assert "answer 42.0" in get(f"https://127.0.0.1:{port}/metrics", trusted=cert)


def test_clients_may_have_to_show_a_certificate(certificate: tuple[Path, Path]) -> None:
    cert, key = map(str, certificate)
    document = {
        "tls_server_config": {
            "cert_file": cert,
            "key_file": key,
            "client_ca_file": cert,
            "client_auth_type": "RequireAndVerifyClientCert",
        }
    }
    with serving(web_config(document, "web.json")) as port:
        with pytest.raises((OSError, urllib.error.URLError)):
            get(f"https://127.0.0.1:{port}/metrics", trusted=certificate[0])
        context = ssl.create_default_context(cafile=cert)
        context.load_cert_chain(cert, key)
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/metrics", timeout=10, context=context) as reply:
            assert reply.status == 200


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the file is not a mapping"),
        ({"tls": {}}, "the file: unknown key 'tls'"),
        ({"tls_server_config": {"cert_file": "c"}}, "needs cert_file and key_file"),
        (
            {"tls_server_config": {"cert_file": "c", "key_file": "k", "min_version": "TLS13"}},
            "unknown key 'min_version'",
        ),
        (
            {"tls_server_config": {"cert_file": "c", "key_file": "k", "client_auth_type": "Maybe"}},
            "client_auth_type 'Maybe' is unknown",
        ),
        ({"basic_auth_users": {"a": "plain"}}, "basic_auth_users: a: not a bcrypt hash"),
    ],
)
def test_wrong_configurations_are_refused(document: object, message: str) -> None:
    with pytest.raises(AgentError, match=message):
        web_config(document, "web.json")


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    config = WebConfig(cert_file=str(tmp_path / "none.pem"), key_file=str(tmp_path / "none.pem"))
    with pytest.raises(AgentError, match="the certificate cannot be used"), serving(config):
        pass
