"""`nohype serve`: campaigns in a browser."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import err
from harness.errors import InputError


def serve(
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where to listen; port 0 takes a free one.")
    ] = "127.0.0.1:8060",
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further host name that browsers may ask for. May be given again."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate chain, PEM; with --tls-key.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key, PEM.")] = None,
) -> None:
    """Serve campaigns as web pages, for reading alone: progress, trials, comparison, artifacts. Ctrl-C ends it.

    By default only this machine can read them. From elsewhere, come by SSH: ssh -L 8060:127.0.0.1:8060 CONTROL-NODE,
    then open http://127.0.0.1:8060/. To listen on another address, a password must be in NOHYPE_SERVE_PASSWORD (any
    user name goes with it); give a certificate as well, for without one the password travels in the clear.

    For scripts, each page is JSON at its address with .json: /campaigns.json, /campaigns/ID.json,
    /campaigns/ID/comparison.json.

    Examples:

      nohype serve

      NOHYPE_SERVE_PASSWORD=$(cat password) nohype serve --listen 192.0.2.7:8060 --tls-cert c.pem --tls-key k.pem
    """
    from harness.results.store import Store
    from harness.web import server

    where = server.parse_listen(listen)
    password = os.environ.get(server.PASSWORD_VARIABLE, "")
    server.check_password(where, password)
    if (tls_cert is None) != (tls_key is None):
        raise InputError("a certificate needs its key, and a key its certificate", where="--tls-cert, --tls-key")
    tls = server.Tls(tls_cert, tls_key) if tls_cert and tls_key else None
    if tls is None and not where.loopback:
        err.print(
            "[yellow]! without --tls-cert the password and the pages travel in the clear[/yellow]", soft_wrap=True
        )
    with contextlib.suppress(KeyboardInterrupt), Store() as store:  # Ctrl-C is how it ends
        server.serve(store, where, names=name or (), password=password, tls=tls, ready=_ready)


def _ready(address: str) -> None:
    err.print(f"serving campaigns at {address} - Ctrl-C ends it", soft_wrap=True)
