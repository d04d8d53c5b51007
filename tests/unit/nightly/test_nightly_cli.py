"""The commands, at their public door; nights themselves are run in tests/integration/campaign/test_nightly.py."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nightly_histories import BEGIN, Night, fill

from harness.cli import guarded
from harness.cli.app import app
from harness.nightly.night import keep_artifacts
from harness.results.store import Store

SPEC = 'name: n\ncampaign: campaign.yml\nat: "22:00"\n'
CAMPAIGN = "name: nightly\nhosts: all\nstacks: [kvm]\nboots: 1\nworkloads: [{name: idle}]\n"
INVENTORY = """
nohype_hosts:
  hosts:
    server1:
      ansible_host: 192.0.2.11
      nohype_data_address: 10.78.1.1/16
      nohype_bridge_address: 10.79.1.1/24
      ansible_user: nobody
      ansible_ssh_private_key_file: /nowhere/key
      nohype_known_hosts: /nowhere/known_hosts
      nohype_fidelity: silicon
"""


def nohype(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    code = 0
    try:
        guarded(lambda: app(words))
    except SystemExit as left:
        code = int(left.code or 0)
    done = capsys.readouterr()
    return code, done.out, " ".join(done.err.split())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "campaign.yml").write_text(CAMPAIGN)
    (tmp_path / "inventory.yml").write_text(INVENTORY)
    (tmp_path / "file.yml").write_text(SPEC)
    return tmp_path


def test_what_is_installed_is_listed_with_its_next_night_and_what_was_missed(
    files: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("nightly", "install", str(files / "file.yml"), "-i", str(files / "inventory.yml"), "--no-service")
    code, out, err = nohype(capsys, *words)
    assert (code, "n is installed" in out, "nohype nightly daemon" in out) == (0, True, True), err
    (record,) = store.nightlies()
    assert (record.campaign, record.campaign_file) == ("nightly", str(files / "campaign.yml"))
    store.set_nightly(replace(record, installed_at=datetime.now(UTC) - timedelta(days=3)))
    code, out, _ = nohype(capsys, "nightly", "list", "--json")
    (document,) = json.loads(out)
    assert (code, document["controller"]) == (0, None)
    assert datetime.fromisoformat(document["next"]) > datetime.now(UTC)
    assert [one["status"] for one in document["nights"]].count("missed") >= 2
    assert document["nights"][-1]["reason"] == "no controller is running"
    code, out, _ = nohype(capsys, "nightly", "list")
    assert "missed" in out
    assert "no controller runs" in out
    assert nohype(capsys, "nightly", "uninstall")[0] == 0
    code, _, err = nohype(capsys, "nightly", "list")
    assert (code, "no nightly is installed" in err) == (3, True)


def test_all_nightlies_are_listed_and_other_commands_ask_which(
    files: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "other.yml").write_text(SPEC.replace("name: n\n", "name: other\n"))
    for file in ("file.yml", "other.yml"):
        words = ("nightly", "install", str(files / file), "-i", str(files / "inventory.yml"), "--no-service")
        assert nohype(capsys, *words)[0] == 0
    code, out, _ = nohype(capsys, "nightly", "list")
    assert (code, "n, campaign nightly" in out, "other, campaign nightly" in out) == (0, True, True), out
    code, out, _ = nohype(capsys, "nightly", "list", "other", "--json")
    assert [one["nightly"] for one in json.loads(out)] == ["other"]
    code, _, err = nohype(capsys, "nightly", "trend")
    assert (code, "which nightly?" in err, "installed: n, other" in err) == (2, True, True), err


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("file.yml", SPEC.replace("22:00", "25:00"), "file.yml:3: at: "),
        ("campaign.yml", CAMPAIGN.replace("idle", "idel"), "unknown workload 'idel'; did you mean 'idle'"),
    ],
)
def test_wrong_files_install_nothing(
    files: Path, store: Store, capsys: pytest.CaptureFixture[str], file: str, text: str, message: str
) -> None:
    (files / file).write_text(text)
    words = ("nightly", "install", str(files / "file.yml"), "-i", str(files / "inventory.yml"), "--no-service")
    code, _, err = nohype(capsys, *words)
    assert (code, message in err) == (2, True), err
    assert store.nightlies() == ()


def test_a_change_is_shown_with_its_suspects_until_it_is_acknowledged(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = ({"kernel.release": "6.12.1"}, {"kernel.release": "6.12.2"})
    fill(store, [Night({"kvm": 10.0 if n < 8 else 8.0}, facts[n >= 8]) for n in range(16)])
    code, out, _ = nohype(capsys, "nightly", "trend", "--json")
    assert code == 4
    (change,) = json.loads(out)["changes"]
    code, out, _ = nohype(capsys, "nightly", "trend")
    assert code == 4
    assert "suspect: kernel.release: 6.12.1 became 6.12.2" in out
    assert f"since {BEGIN + timedelta(days=8):%Y-%m-%d}" in out
    code, _, err = nohype(capsys, "nightly", "ack", change["id"], "--note", " ")
    assert (code, "the note is empty" in err) == (2, True)
    code, _, err = nohype(capsys, "nightly", "ack", "nosuch", "--note", "why")
    assert (code, "no change 'nosuch'" in err) == (2, True)
    assert nohype(capsys, "nightly", "ack", change["id"], "--note", "accepted")[0] == 0
    code, out, _ = nohype(capsys, "nightly", "trend")
    assert (code, "nothing has changed" in out, "1 more" in out) == (0, True, True)
    code, out, _ = nohype(capsys, "nightly", "trend", "--all")
    assert (code, "acknowledged" in out, "accepted" in out) == (0, True, True)


def test_a_digest_is_shown_and_sending_it_to_nobody_is_an_error(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store, [Night({"kvm": 10.0}) for _ in range(4)])
    code, out, _ = nohype(capsys, "nightly", "digest", "--night", "2026-01-03")
    assert (code, out.splitlines()[0]) == (0, "# nightly 2026-01-03: ok")
    code, _, err = nohype(capsys, "nightly", "digest", "--send")
    assert (code, "neither notify.mail nor notify.webhook" in err) == (2, True)
    code, _, err = nohype(capsys, "nightly", "digest", "--night", "2026-02-01")
    assert (code, "no night '2026-02-01' has ended" in err) == (2, True)


def test_old_artifacts_go_and_results_stay(store: Store, state: Path) -> None:
    ids = fill(store, [Night({"kvm": 10.0}) for _ in range(5)])
    for one in ids:
        (state / "artifacts" / one / "blocks").mkdir(parents=True)
    store.set_campaign_status(ids[0], "running")
    removed = keep_artifacts(store, store.nightlies()[0], 2)
    assert [path.name for path in removed] == ids[1:3]
    assert sorted(path.name for path in (state / "artifacts").iterdir()) == [ids[0], ids[3], ids[4]]
    assert len(store.campaigns()) == 5
