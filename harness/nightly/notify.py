"""Send digests: by mail and to a webhook, as the nightly file says. Without it, nothing is sent."""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from harness.errors import HarnessError, UnavailableError
from harness.nightly.digest import Message
from harness.nightly.model import Digest
from harness.nightly.spec import Mail, Notify, Webhook, secret
from harness.results.model import NightStatus

_SECONDS = 30.0
NOT_WANTED = "nobody asked for it"


def wanted(notify: Notify, digest: Digest) -> bool:
    """Whether this night's digest is to be sent at all."""
    if notify.mail is None and notify.webhook is None:
        return False
    return notify.when == "always" or digest.night.status is not NightStatus.OK or bool(digest.missed)


def send(notify: Notify, digest: Digest, message: Message) -> tuple[str, tuple[HarnessError, ...]]:
    """Send the message wherever it is wanted; what became of it in words, and what went wrong.

    That one way fails does not keep the message from the other. No secret is in words or errors.
    """
    ways: list[tuple[str, Callable[[], None]]] = []
    mail, webhook = notify.mail, notify.webhook
    if mail is not None:
        ways.append(("mail", lambda: by_mail(mail, message)))
    if webhook is not None:
        ways.append(("webhook", lambda: by_webhook(webhook, digest, message)))
    outcomes, errors = [], []
    for name, way in ways:
        try:
            way()
            outcomes.append(f"sent by {name}")
        except HarnessError as error:
            outcomes.append(f"not sent by {name}: {error.what}")
            errors.append(error)
    return "; ".join(outcomes) or NOT_WANTED, tuple(errors)


def by_mail(mail: Mail, message: Message) -> None:
    """Raises UnavailableError where the server cannot be reached or does not take it."""
    where = f"{mail.server}:{mail.port}"
    letter = EmailMessage()
    letter["Subject"], letter["From"], letter["To"] = message.subject, mail.sender, ", ".join(mail.to)
    letter["Date"], letter["Message-ID"] = formatdate(), make_msgid(domain=mail.sender.rpartition("@")[2])
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    letter.set_content(message.markdown)
    letter.add_alternative(message.html, subtype="html")
    password = secret(mail.password_env) if mail.user else ""
    context = ssl.create_default_context()
    try:
        with (
            smtplib.SMTP_SSL(mail.server, mail.port, timeout=_SECONDS, context=context)
            if mail.security == "tls"
            else smtplib.SMTP(mail.server, mail.port, timeout=_SECONDS)
        ) as server:
            if mail.security == "starttls":
                server.starttls(context=context)
            if mail.user:
                server.login(mail.user, password)
            refused = server.send_message(letter)
    except smtplib.SMTPAuthenticationError as error:  # its text may repeat what was sent
        raise UnavailableError(
            f"the mail server refused user and password (status {error.smtp_code})",
            where=where,
            fix=f"see notify.mail.user and the environment variable {mail.password_env}",
        ) from None
    except (smtplib.SMTPException, OSError) as error:
        raise UnavailableError(
            f"the mail was not taken: {_why(error)}", where=where, fix="see notify.mail of the nightly file"
        ) from None
    if refused:
        raise UnavailableError(f"the mail was not taken for {', '.join(refused)}", where=where)


def by_webhook(webhook: Webhook, digest: Digest, message: Message) -> None:
    """POST the digest as JSON. Raises UnavailableError where it is not taken.

    `text` is what chat services show; the rest is for programs.
    """
    url = webhook.url or secret(webhook.url_env)
    where = webhook.url or f"the URL in {webhook.url_env}"
    if not url.startswith(("http://", "https://")):
        raise UnavailableError("this is no URL of http or https", where=where)
    night = digest.night
    document = {
        "text": message.markdown,
        "subject": message.subject,
        "html": message.html,
        "nightly": night.nightly,
        "night": night.night,
        "status": night.status,
        "campaign": night.campaign_id,
        "regressions": [change.id for change in digest.changes if change.regression],
        "missed": list(digest.missed),
    }
    headers = {"Content-Type": "application/json", "User-Agent": "nohype-testbed"}
    if webhook.token_env:
        headers["Authorization"] = f"Bearer {secret(webhook.token_env)}"
    request = urllib.request.Request(url, json.dumps(document).encode(), headers, method="POST")  # noqa: S310
    opener = urllib.request.build_opener(_NoRedirect())  # the token is for this address alone
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        raise UnavailableError(f"the webhook answered with status {error.code}", where=where) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        text = _why(reason) if isinstance(reason, Exception) else "the request failed"
        raise UnavailableError(f"the webhook was not reached: {text.replace(url, where)}", where=where) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: object, **_more: object) -> None:
        """Redirects become errors with their status."""


def _why(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return f"status {error.smtp_code}, {' '.join(text.split())}"
    return " ".join(str(error).split()) or type(error).__name__
