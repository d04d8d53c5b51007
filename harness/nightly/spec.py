"""Nightly files: which campaign is run when, and who is told (docs/how-to/nightlies.md)."""

from __future__ import annotations

import os
import zoneinfo
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from harness.config import FileModel, load, nearest, validate
from harness.errors import InputError, UnavailableError
from harness.results.model import NightlyRecord
from harness.workloads.spec import as_tuple

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _clock(value: object) -> object:
    # YAML 1.1 reads an unquoted 22:30 as a number to the base of 60.
    if isinstance(value, int) and not isinstance(value, bool) and value >= 60:
        return f"{value // 60:02}:{value % 60:02}"
    return value


def _zone(name: str) -> str:
    known = zoneinfo.available_timezones()
    if name not in known:
        raise ValueError(f"unknown time zone{nearest(name, known)}")
    return name


class Mail(FileModel):
    """Digests by SMTP. The password is in the environment variable `password_env` names."""

    server: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: str = Field(alias="from", pattern=r"^[^\s<>@]+@[^\s<>@]+$")
    to: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    user: str = ""
    password_env: str = ""

    @model_validator(mode="after")
    def _protected(self) -> Mail:
        if bool(self.user) != bool(self.password_env):
            raise ValueError("user and password_env go together")
        if self.user and self.security == "none":
            raise ValueError("a password is not sent without TLS: set security to starttls or tls")
        return self


class Webhook(FileModel):
    """Digests by HTTP POST. Where the URL is itself a secret, `url_env` names the variable that holds it."""

    url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    url_env: str = ""
    token_env: str = ""

    @model_validator(mode="after")
    def _one_url(self) -> Webhook:
        if bool(self.url) == bool(self.url_env):
            raise ValueError("give either url or url_env")
        return self


class Notify(FileModel):
    """Who gets the digests; nobody, where neither is given."""

    when: Literal["always", "problems"] = "always"
    mail: Mail | None = None
    webhook: Webhook | None = None


class NightlySpec(FileModel):
    """A nightly file. `campaign` is relative to the file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")
    campaign: str = Field(min_length=1)
    at: Annotated[str, BeforeValidator(_clock), Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    days: Annotated[tuple[Day, ...], BeforeValidator(as_tuple), Field(min_length=1)] = DAYS
    late_hours: float = Field(default=6.0, ge=0, lt=24)
    keep_artifacts: int | None = Field(default=None, ge=1)
    notify: Notify = Notify()


def load_nightly(path: Path) -> tuple[NightlySpec, Path]:
    """Read a nightly file; the other is its campaign file's path. Raises InputError naming file, line and key."""
    spec, lines = load(path, NightlySpec)
    campaign = (path.parent / spec.campaign).absolute()
    if not campaign.is_file():
        hint = nearest(campaign.name, [other.name for other in campaign.parent.glob("*.y*ml")])
        raise InputError(f"campaign: no such file {campaign}{hint}", where=lines.where(("campaign",)))
    return spec, campaign


def installed_spec(record: NightlyRecord) -> NightlySpec:
    """What was installed. Raises InputError where another version of the harness did that and it is not understood."""
    return validate(yaml.safe_load(record.spec_text), NightlySpec, lambda _loc: f"installed nightly {record.name}")


def secret(variable: str) -> str:
    """The environment variable's value. Raises UnavailableError where there is none; its value is in no message."""
    value = os.environ.get(variable, "")
    if not value:
        raise UnavailableError(
            "this environment variable is not set", where=variable, fix="docs/how-to/nightlies.md: Secrets"
        )
    return value
