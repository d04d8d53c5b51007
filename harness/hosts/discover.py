"""What a host can do and what it is, asked of its `nohype-host`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.errors import HostError
from harness.hosts.model import Capabilities
from harness.hosts.ssh import HostSession
from harness.results.model import Fingerprint

T = TypeVar("T")


def capabilities(session: HostSession) -> Capabilities:
    """What the host can do now. Raises HostError, and UnavailableError where the host has not been provisioned."""
    return parse_capabilities(session.agent("facts"), session.host_name)


def parse_capabilities(document: object, where: str) -> Capabilities:
    """The capabilities in what `nohype-host facts` printed. Raises HostError when it is something else."""
    return _parse(TypeAdapter(Capabilities), document, where)


def fingerprint(session: HostSession, host_name: str) -> Fingerprint:
    """What the host is, for the provenance of results. Raises as `capabilities` does."""
    document = session.agent("fingerprint")
    return make_fingerprint(host_name, _parse(TypeAdapter(dict[str, str]), document, session.host_name))


def make_fingerprint(host_name: str, facts: Mapping[str, str]) -> Fingerprint:
    """A fingerprint of facts; equal facts have equal digests, whatever the host's name."""
    text = json.dumps(dict(facts), sort_keys=True, separators=(",", ":"))
    return Fingerprint(host_name, hashlib.sha256(text.encode()).hexdigest(), tuple(sorted(facts.items())))


def _parse(adapter: TypeAdapter[T], document: object, where: str) -> T:
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "document"
        raise HostError(
            f"facts cannot be understood ({key}: {first['msg']})",
            where=where,
            fix="the host's nohype-host is of another version; provision the host again",
        ) from None
