import json
from pathlib import Path

import pytest

from harness.errors import HostError, UnavailableError
from harness.guests import image, lifecycle
from harness.guests.model import Guest

MANIFEST = {"digest": "abc", "kernel_release": "6.12", "ssh_host_keys": ["ssh-ed25519 AAAA x"], "packages": {}}


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOHYPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path / "state"))


def _built(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | changes))
    return folder


def test_nothing_built_says_what_to_do_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        image.current()
    assert "nohype image build" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_current_is_that_of_todays_recipe(tmp_path: Path) -> None:
    from harness.guests.build import recipe
    from harness.toolbox.keys import control_key

    key = control_key()
    _built(tmp_path / "cache/guest-image-0000", digest="old")
    with pytest.raises(UnavailableError, match="current recipe"):
        image.current()
    folder = _built(tmp_path / f"cache/guest-image-{recipe().digest}")
    assert image.current() == image.GuestImage("abc", folder, "6.12", ("ssh-ed25519 AAAA x",), key)


def test_images_of_older_recipes_are_found_by_digest(tmp_path: Path) -> None:
    _built(tmp_path / "cache/guest-image-0000", digest="old")
    assert image.by_digest("old").folder.name == "guest-image-0000"
    with pytest.raises(UnavailableError, match="guest image new"):
        image.by_digest("new")


@pytest.mark.parametrize("text", ["", "[]", '{"digest": "abc"}'])
def test_wrong_manifest_is_named(tmp_path: Path, text: str) -> None:
    folder = _built(tmp_path / "cache/guest-image-0000")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(UnavailableError) as caught:
        image.load(folder)
    assert caught.value.where == str(folder / "manifest.json")


DOCUMENT = {
    "name": "g1", "stack": "kvm", "state": "running", "address": "10.79.1.10", "mac": "02:00:00:00:00:01", "vf": "",
    "image": "abc", "vcpu_threads": [11, 12], "cpus": [], "memory_mib": 512, "started_at": 5.0,
    "unit": "nohype-guest-g1.service", "console": "/var/lib/nohype/guests/g1/console.log",
    "engagement": {
        "state": "killed", "refused": "", "cause": "exit", "vcpu": 1, "reason": "ioio",
        "exit_info_1": "0x6080210", "exit_info_2": "0x1", "rip": "0xffffffff8103c2b0",
    },
}  # fmt: skip


def test_guest_from_a_host() -> None:
    guest = lifecycle.parse(DOCUMENT, "host1")
    assert isinstance(guest, Guest)
    assert guest.vcpu_threads == (11, 12)
    assert guest.cpus == ()
    assert guest.death == "killed: ioio at RIP 0xffffffff8103c2b0"


@pytest.mark.parametrize(
    "document", [None, {}, DOCUMENT | {"new": 1}, DOCUMENT | {"cpus": None}, DOCUMENT | {"engagement": {"now": 1}}]
)
def test_something_else_is_an_error_of_the_host(document: object) -> None:
    with pytest.raises(HostError, match="host1"):
        lifecycle.parse(document, "host1")
