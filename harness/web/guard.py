"""What stands before every page: who may ask, under which name, and what browsers may do with the answer."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Pages bring all they need along; nothing is fetched from elsewhere, framed, or sent anywhere.
CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]+)?")
_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Guard:
    """An ASGI middleware.

    `hosts` are the names under which the server may be asked, besides plain addresses: a page of another site cannot
    get at it by having its own name resolved to this machine (DNS rebinding). With a `password`, every request needs
    it (HTTP Basic, any user).
    """

    app: ASGIApp
    hosts: frozenset[str]
    password: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no web sockets here

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (self._refusal(scope) or self.app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        names = headers.getlist("host")
        if len(names) != 1 or not self._is_known(host_name(names[0])):
            text = "not served under this name; see: nohype serve --help, --name\n"
            return PlainTextResponse(text, status_code=421)
        if self.password and not self._knows_password(headers.get("authorization", "")):
            challenge = {"WWW-Authenticate": 'Basic realm="NoHype testbed", charset="UTF-8"'}
            return PlainTextResponse("a password is needed\n", status_code=401, headers=challenge)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("nothing can be changed here\n", status_code=405, headers={"Allow": "GET, HEAD"})
        return None

    def _is_known(self, name: str) -> bool:
        if name in self.hosts:
            return True
        try:  # an address was asked for as such, so no name was resolved
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _knows_password(self, authorization: str) -> bool:
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            given = b""
        _, _, password = given.partition(b":")
        return hmac.compare_digest(password, self.password.encode()) and scheme.lower() == "basic"


def host_name(header: str) -> str:
    """The name in a Host header, in small letters: without the port, and without brackets around IPv6; "" for none."""
    found = _HOST.fullmatch(header)
    return (found[1] or found[2]).lower() if found else ""
