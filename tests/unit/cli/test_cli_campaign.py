"""`nohype campaign`: what needs no running campaign. The rest is in tests/unit/campaign."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.campaign import app
from harness.errors import InputError
from harness.paths import repo_root

INVENTORY = """
nohype_hosts:
  hosts:
    metal1:
      ansible_host: 192.0.2.1
      ansible_user: nohype
      ansible_ssh_private_key_file: /keys/id
      nohype_known_hosts: /keys/known_hosts
      nohype_fidelity: silicon
"""


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("NOHYPE_DATABASE_URL", raising=False)
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY)
    return str(path)


QUICKSTART = str(repo_root() / "campaigns" / "quickstart.yml")


def test_validate(inventory: str) -> None:
    done = CliRunner().invoke(app, ["validate", QUICKSTART, "-i", inventory])
    assert done.exit_code == 0, done.output
    assert "is right: 1 host x 3 stacks x 2 boots = 6 blocks of 6 trials" in done.stdout


def test_plan_is_decided_by_the_seed(inventory: str) -> None:
    def plan(seed: str) -> object:
        done = CliRunner().invoke(app, ["plan", QUICKSTART, "-i", inventory, "--seed", seed, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["blocks"]

    assert plan("1") == plan("1") != plan("2")


def test_a_wrong_file_is_refused_before_anything_is_started(inventory: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yml"
    path.write_text(Path(QUICKSTART).read_text().replace("kvm-tuned,", "kvm-toned,"))
    done = CliRunner().invoke(app, ["run", str(path), "-i", inventory])
    assert isinstance(done.exception, InputError)
    assert "stacks[1]: unknown stack 'kvm-toned'; did you mean 'kvm-tuned'?" in str(done.exception)
    assert not (tmp_path / "state").exists()


def test_no_campaigns_yet(inventory: str) -> None:
    assert "no campaigns yet" in CliRunner().invoke(app, ["list"]).stdout
    done = CliRunner().invoke(app, ["status"])
    assert isinstance(done.exception, InputError)
    assert "there are no campaigns yet" in str(done.exception)
