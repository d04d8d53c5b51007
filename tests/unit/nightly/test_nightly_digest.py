"""Digests: what they say, and that real servers get them."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from certificates import self_signed
from nightly_histories import NIGHTLY, Night, fill

from harness.errors import UnavailableError
from harness.nightly.changes import find_changes
from harness.nightly.digest import Message, render
from harness.nightly.model import Digest
from harness.nightly.night import make_digest, report_night
from harness.nightly.notify import by_mail, by_webhook, send, wanted
from harness.nightly.spec import Mail, NightlySpec, Notify, Webhook
from harness.results.model import NightRecord, NightStatus, Note, NoteKind
from harness.results.store import Store

PASSWORD = "correct horse battery staple"


@pytest.fixture
def digest(store: Store) -> Digest:
    """A regressed night after two missed ones, with a quarantined host whose words look like markup."""
    ids = fill(
        store,
        [
            Night(
                {"kvm": 10.0, "nohype": 10.0 if n < 8 else 8.0},
                {"kernel.release": "6.12.1" if n < 8 else "6.12.2"},
                failed=("kvm",) if n == 15 else (),
            )
            for n in range(16)
        ],
    )
    nights = store.nights("nightly")
    for night in nights[13:15]:
        store.set_night(replace(night, status=NightStatus.MISSED))
    store.add_note(Note(ids[15], NoteKind.QUARANTINED, "rack1", "<script>it `hangs`</script>", nights[15].due_at))
    regressed = replace(nights[15], status=NightStatus.REGRESSED, reason="1 metrics are worse", digest="")
    store.set_night(regressed)
    return make_digest(store, NIGHTLY, regressed)


def test_it_tells_status_changes_suspects_troubles_and_what_to_do(digest: Digest) -> None:
    message = render(digest)
    assert message.subject == "nightly 2026-01-16: 1 metric worse than before (new)"
    (change,) = digest.changes
    for text in (
        "- **rack1, nohype: cpu figure**: 10.0 → 8.00 1/s (0.800×), since 2026-01-09 (new)",
        f'`nohype nightly ack {change.id} --note "why"`',
        "  - kernel.release: `6.12.1` became `6.12.2`",
        "- missed: the night of 2026-01-14",
        "- missed: the night of 2026-01-15",
        "- quarantined: rack1: ",
        "- failed: rack1, kvm: cpu: ",
        "Campaign nightly-20260116, 2 trials. It took 3 h 0 min.",
    ):
        assert text in message.markdown
    assert "<script>" not in message.html
    assert "&lt;script&gt;" in message.html
    assert change.id in message.html


def test_a_quiet_night_is_a_short_digest(store: Store) -> None:
    fill(store, [Night({"kvm": 10.0}) for _ in range(6)])
    message = render(make_digest(store, NIGHTLY, store.nights("nightly")[-1]))
    assert message.subject == "nightly 2026-01-06: ok"
    assert "##" not in message.markdown.replace("## Look closer", "")


def test_what_got_better_is_told_once(store: Store) -> None:
    fill(store, [Night({"kvm": 10.0 if n < 8 else 12.0}) for n in range(16)])
    night = replace(store.nights("nightly")[-1], digest="")
    assert "Also changed" in render(make_digest(store, NIGHTLY, night)).markdown
    spec = NightlySpec.model_validate({"name": "n", "campaign": "c", "at": "22:00"})
    assert report_night(store, NIGHTLY, spec, night).digest == "nobody asked for it"
    assert "Also changed" not in render(make_digest(store, NIGHTLY, night)).markdown
    assert [change.new for change in find_changes(store, "nightly")] == [False]


def test_nothing_is_sent_where_nothing_is_configured_or_nothing_is_wrong(digest: Digest) -> None:
    mail = Mail.model_validate({"server": "s", "from": "a@b", "to": ["c@d"]})
    quiet = replace(digest, night=replace(digest.night, status=NightStatus.OK), missed=())
    assert not wanted(Notify(), digest)
    assert wanted(Notify(mail=mail), quiet)
    assert wanted(Notify(when="problems", mail=mail), digest)
    assert wanted(Notify(when="problems", mail=mail), replace(quiet, missed=("2026-01-01",)))
    assert not wanted(Notify(when="problems", mail=mail), quiet)
    assert send(Notify(), digest, Message("s", "m", "h")) == ("nobody asked for it", ())


class Letters:
    """Takes mail as a server does."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.to: list[str] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.taken.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        self.to += envelope.rcpt_tos
        return "250 taken"


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate for localhost that clients here trust."""
    certificate, key = self_signed(tmp_path, "localhost")
    path = tmp_path / "server.pem"
    path.write_bytes(key.read_bytes() + certificate.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


@pytest.fixture
def mail_server(certificate: ssl.SSLContext) -> Iterator[Controller]:
    """A real SMTP server that wants TLS, then user and password."""

    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: LoginPassword) -> AuthResult:
        return AuthResult(success=data == LoginPassword(b"lab", PASSWORD.encode()), handled=False)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(
        Letters(),
        hostname="127.0.0.1",
        port=port,
        tls_context=certificate,
        require_starttls=True,
        authenticator=check,
        auth_required=True,
    )
    controller.start()
    yield controller
    controller.stop()


def mail_to(server: Controller, **keys: object) -> Mail:
    whole = {"server": "localhost", "port": server.port, "from": "lab@example.org", "to": ["one@example.org"], **keys}
    return Mail.model_validate(whole)


def test_mail_goes_by_tls_and_password_to_everybody(
    digest: Digest, mail_server: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    to = ["one@example.org", "two@example.org"]
    mail = mail_to(mail_server, to=to, user="lab", password_env="MAIL_PASSWORD")
    outcome, errors = send(Notify(mail=mail), digest, render(digest))
    assert (outcome, errors) == ("sent by mail", ())
    letters = mail_server.handler
    assert letters.to == to
    (letter,) = letters.taken
    assert letter["Subject"] == "nightly 2026-01-16: 1 metric worse than before (new)"
    assert letter["Auto-Submitted"] == "auto-generated"
    plain, page = (letter.get_body((kind,)) for kind in ("plain", "html"))
    assert plain
    assert page
    assert "rack1, nohype: cpu figure" in plain.get_content()
    assert page.get_content().startswith("<!doctype html>")


def test_a_wrong_password_is_told_without_it(
    digest: Digest, mail_server: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "wrong-secret")
    mail = mail_to(mail_server, user="lab", password_env="MAIL_PASSWORD")
    with pytest.raises(UnavailableError, match="refused user and password") as error:
        by_mail(mail, render(digest))
    assert "wrong-secret" not in str(error.value)
    assert "MAIL_PASSWORD" in str(error.value)
    assert mail_server.handler.taken == []


def test_an_unknown_certificate_gets_no_password(
    digest: Digest, mail_server: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    with pytest.raises(UnavailableError, match="certificate verify failed"):
        by_mail(mail_to(mail_server, user="lab", password_env="MAIL_PASSWORD"), render(digest))


def test_a_secret_that_is_not_set_is_told_by_its_name(digest: Digest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    mail = Mail.model_validate({"server": "s", "from": "a@b", "to": ["c@d"], "user": "u", "password_env": "NO_SUCH"})
    hook = Webhook(url_env="NO_SUCH")
    outcome, errors = send(Notify(mail=mail, webhook=hook), digest, render(digest))
    assert outcome == (
        "not sent by mail: this environment variable is not set; "
        "not sent by webhook: this environment variable is not set"
    )
    assert [error.where for error in errors] == ["NO_SUCH", "NO_SUCH"]


@pytest.fixture
def webhook_server() -> Iterator[HTTPServer]:
    """A real HTTP server that keeps what it gets; /gone answers 410, /away sends elsewhere."""
    taken: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.append((self.path, dict(self.headers), body))
            self.send_response({"/gone": 410, "/away": 302}.get(self.path, 200))
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.taken = taken  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_gets_words_for_people_and_keys_for_programs(
    digest: Digest, webhook_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{webhook_server.server_port}/services/T0/secret")
    monkeypatch.setenv("TOKEN", "t0ken")
    hook = Webhook(url_env="HOOK", token_env="TOKEN")
    assert send(Notify(webhook=hook), digest, render(digest)) == ("sent by webhook", ())
    ((path, headers, body),) = webhook_server.taken  # type: ignore[attr-defined]
    assert path == "/services/T0/secret"
    assert headers["Authorization"] == "Bearer t0ken"
    assert body["text"].startswith("# nightly 2026-01-16: ")
    assert (body["nightly"], body["night"], body["status"]) == ("nightly", "2026-01-16", "regressed")
    assert body["regressions"] == [digest.changes[0].id]
    assert body["missed"] == ["2026-01-14", "2026-01-15"]


@pytest.mark.parametrize(("path", "message"), [("gone", "status 410"), ("away", "status 302")])
def test_a_webhook_that_does_not_take_it_is_told_without_its_address(
    digest: Digest, webhook_server: HTTPServer, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{webhook_server.server_port}/{path}")
    with pytest.raises(UnavailableError, match=message) as error:
        by_webhook(Webhook(url_env="HOOK"), digest, render(digest))
    assert path not in str(error.value)
    assert len(webhook_server.taken) == 1  # type: ignore[attr-defined]


def test_servers_that_are_not_there_are_told_and_do_not_keep_the_other_from_its_message(
    digest: Digest, webhook_server: HTTPServer
) -> None:
    mail = Mail.model_validate({"server": "localhost", "port": 1, "from": "a@b", "to": ["c@d"]})
    hook = Webhook(url=f"http://127.0.0.1:{webhook_server.server_port}/")
    outcome, errors = send(Notify(mail=mail, webhook=hook), digest, render(digest))
    assert outcome.startswith("not sent by mail: the mail was not taken: ")
    assert outcome.endswith("; sent by webhook")
    assert [error.where for error in errors] == ["localhost:1"]


def test_a_night_is_reported_once_and_what_could_not_be_sent_stands_in_it(store: Store, digest: Digest) -> None:
    text = 'name: n\ncampaign: c\nat: "22:00"\nnotify:\n  mail: {server: localhost, port: 1, from: a@b, to: [c@d]}\n'
    spec = NightlySpec.model_validate(yaml.safe_load(text))
    told: NightRecord = report_night(store, NIGHTLY, spec, digest.night)
    assert told.digest.startswith("not sent by mail: ")
    assert store.nights("nightly")[-1] == told
    assert report_night(store, NIGHTLY, spec, told) == told
