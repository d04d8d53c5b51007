"""`nohype guest create`: what is refused before a host is asked for anything."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from harness.cli.guest import app
from harness.errors import InputError


@pytest.mark.parametrize(
    ("options", "where", "message"),
    [
        (("--icr", "opne"), "--icr", "'opne' is neither closed nor open; did you mean 'open'?"),
        (("--stack", "kvm", "--icr", "open"), "--icr", "guests of stack kvm keep their hypervisor"),
        (
            ("--stack", "kvm-tuned", "--disengage-within", "9"),
            "--disengage-within",
            "guests of stack kvm-tuned keep their hypervisor",
        ),
        (("--stack", "nohype", "--vcpus", "2"), "--vcpus", "guests with several vCPUs do not disengage"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options: tuple[str, ...], where: str, message: str) -> None:
    done = CliRunner().invoke(app, ["create", "nowhere", "--name", "g1", *options])
    assert isinstance(done.exception, InputError)
    assert done.exception.where == where
    assert message in done.exception.what
