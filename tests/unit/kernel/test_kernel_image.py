"""The built kernel on the control node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import UnavailableError
from harness.hosts.model import Host
from harness.kernel import image, recipe
from harness.results.model import Fidelity

MANIFEST = {
    **{"digest": "abc", "release": "6.12-nohype", "source": "6.12-1", "source_why": "recorded; it is older"},
    **{"patches": ["0001-a.patch"], "packages": {}},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOHYPE_CACHE", str(tmp_path))
    return tmp_path


def built(cache: Path) -> Path:
    folder = cache / f"kernel-{recipe.rack().digest}"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    return folder


def test_nothing_built_says_what_to_do(cache: Path) -> None:
    (cache / "kernel-0000").mkdir()
    with pytest.raises(UnavailableError) as caught:
        image.current()
    assert caught.value.fix == "build it: nohype kernel build"


def test_current_is_that_of_todays_recipe(cache: Path) -> None:
    folder = built(cache)
    kernel = image.KernelImage("abc", folder, "6.12-nohype", "6.12-1", ("0001-a.patch",), "recorded; it is older")
    assert image.current() == kernel


def host(**variables: object) -> Host:
    keys = {"private_key": Path("/k"), "known_hosts": Path("/kh")}
    return Host("h", "127.0.0.1", 22, "nohype", **keys, fidelity=Fidelity.EMULATED, variables=variables)


PACKAGED = host(nohype_kernel_release="6.12.117-full-nohype")


def test_only_hosts_of_stacks_that_boot_it_need_it(cache: Path) -> None:
    assert image.for_stacks(["kvm", "kvm-tuned"], [host()]) is None
    with pytest.raises(UnavailableError, match="is not built"):
        image.for_stacks(["kvm", "nohype"], [host()])
    built(cache)
    assert image.for_stacks(["kvm", "nohype"], [host()]) == image.current()


def test_hosts_with_a_kernel_from_packages_need_none(cache: Path) -> None:
    assert image.for_stacks(["kvm", "nohype"], [PACKAGED]) is None
    with pytest.raises(UnavailableError, match="is not built"):
        image.for_stacks(["kvm", "nohype"], [PACKAGED, host()])


@pytest.mark.parametrize("text", ["", "[]", '{"digest": "abc"}'])
def test_wrong_manifest_is_named(cache: Path, text: str) -> None:
    folder = built(cache)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(UnavailableError) as caught:
        image.load(folder)
    assert caught.value.where == str(folder / "manifest.json")
    assert "nohype kernel build" in caught.value.fix


def test_show(cache: Path) -> None:
    refusal = CliRunner().invoke(app, ["kernel", "show"])
    assert isinstance(refusal.exception, UnavailableError)
    folder = built(cache)
    table = CliRunner().invoke(app, ["kernel", "show"])
    assert {"6.12-nohype", "abc", "0001-a.patch"} <= set(table.stdout.split())
    assert "recorded; it is older" in table.stdout
    document = json.loads(CliRunner().invoke(app, ["kernel", "show", "--json"]).stdout)
    assert (document["release"], document["folder"]) == ("6.12-nohype", str(folder))
