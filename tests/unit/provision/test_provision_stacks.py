"""The provision digest and the host's record of it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness import stacks as stack_room
from harness.errors import HostUnreachableError, InputError, UnavailableError
from harness.hosts.model import Capabilities, Host, PhysicalFunction, VirtualFunction, Xen
from harness.paths import repo_root
from harness.provision import stacks as provisioning
from harness.provision.stacks import PLAYBOOK, STACKS, StackNeeds, digest, provision, unprovisioned, variables
from harness.results.model import Fidelity

PLAYBOOKS = repo_root() / "playbooks"
HOST = Host(
    name="h",
    address="127.0.0.1",
    port=22,
    user="nohype",
    private_key=Path("/k"),
    known_hosts=Path("/kh"),
    fidelity=Fidelity.EMULATED,
    variables={"nohype_vfs": 4, "nohype_bmc": {"address": "1.2.3.4"}},
)


KERNEL = SimpleNamespace(digest="k1", folder=Path("/kernel"), release="6.12.1-nohype")
IMAGE = SimpleNamespace(digest="image", folder=Path("/image"))


def test_every_stack_is_described_and_no_other() -> None:
    assert tuple(STACKS) == stack_room.names()
    assert all(needs.name == name for name, needs in STACKS.items())


def test_what_is_set_aside_for_guests_is_what_their_stacks_give_them() -> None:
    """The description that hosts are provisioned by, beside the guests that are made on them."""
    pages = {"2048": 320}
    vf = VirtualFunction("0000:02:10.0", 0, "vfio-pci", 5, "02:00:00:00:00:01", "")
    pf = PhysicalFunction("0000:02:00.0", "igb", "data0", "1.0", 7, (vf,))
    for name, needs in STACKS.items():
        xen = Xen("4.20", "null", "", 2048, True) if needs.xen else None
        host = Capabilities("svm", True, 1, True, 4, (2, 3), 3072, pages, pages, (pf,), "6.12", "", "b", name, xen=xen)
        spec = stack_room.get(name).guest_spec("g", 1, 256, "image", host, frozenset())
        assert (spec.nic == "vf") is needs.functions, name
        assert spec.hugepages <= needs.isolation, name
        assert spec.disengage is needs.kernel, name


def test_every_role_of_the_playbook_describes_its_arguments() -> None:
    (play,) = yaml.safe_load((PLAYBOOKS / PLAYBOOK).read_text(encoding="utf-8"))
    roles = [role["role"] for role in play["roles"]]
    assert {"base", "boot_entry", "nohype_kernel", "xen"} <= set(roles)
    for role in roles:
        assert (PLAYBOOKS / "roles" / role / "meta" / "argument_specs.yml").exists(), role


def test_the_playbook_gets_the_same_whatever_order_stacks_are_named_in() -> None:
    def given(*stacks: str) -> dict[str, Any]:
        return variables(stacks, [HOST], image=IMAGE, kernel=KERNEL, bundle=Path("/b"))

    both: Any = given("nohype", "kvm")
    assert both == given("kvm", "nohype")
    assert [needs["name"] for needs in both["nohype_stacks"]] == ["kvm", "nohype"]
    alone: Any = given("kvm")
    assert "nohype_kernel" in both
    assert "nohype_kernel" not in alone
    assert both["nohype_vf_stacks"] == alone["nohype_vf_stacks"]
    (record,) = alone["nohype_records"]["h"].items()
    assert record in both["nohype_records"]["h"].items()
    assert len(both["nohype_records"]["h"]) == 2


def test_digest_changes_with_what_it_stands_for(tmp_path: Path) -> None:
    copy = tmp_path / "playbooks"
    shutil.copytree(PLAYBOOKS, copy)
    first = digest("kvm", "image", HOST, playbooks=copy)
    assert first == digest("kvm", "image", HOST)
    assert first != digest("kvm-tuned", "image", HOST)
    assert first != digest("kvm", "another", HOST)
    assert first != digest("kvm", "image", replace(HOST, variables={**HOST.variables, "nohype_vfs": 5}))
    assert first == digest("kvm", "image", replace(HOST, variables={**HOST.variables, "nohype_bmc": None}))
    with (copy / "roles/agent/tasks/main.yml").open("a", encoding="utf-8") as file:
        file.write("# more\n")
    assert first != digest("kvm", "image", HOST, playbooks=copy)


def test_digest_changes_with_any_stacks_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units name all stacks that give functions to guests, so a further one changes hosts of every stack."""
    first = digest("kvm", "image", HOST)
    monkeypatch.setattr(provisioning, "STACKS", {**STACKS, "new": StackNeeds("new", functions=True)})
    assert digest("kvm", "image", HOST) != first


def test_a_kernel_counts_for_stacks_that_boot_it_alone() -> None:
    assert digest("kvm", "image", HOST, kernel_digest="k1") == digest("kvm", "image", HOST)
    assert digest("nohype", "image", HOST, kernel_digest="k1") != digest("nohype", "image", HOST, kernel_digest="k2")
    packaged = replace(HOST, variables={**HOST.variables, "nohype_kernel_release": "6.12.117-full-nohype"})
    first = digest("nohype", "image", packaged, kernel_digest="k1")
    assert first != digest("nohype", "image", HOST, kernel_digest="k1")
    assert first == digest("nohype", "image", packaged, kernel_digest="k2") == digest("nohype", "image", packaged)


def test_without_its_kernel_a_stack_is_refused(tmp_path: Path) -> None:
    image = SimpleNamespace(digest="image", folder=tmp_path)
    packaged = replace(HOST, name="packaged", variables={"nohype_kernel_release": "6.12.117-full-nohype"})
    with pytest.raises(UnavailableError, match="nohype kernel build"):
        provision(
            ["kvm", "nohype"],
            [packaged, HOST],
            inventory=tmp_path,
            image=image,
            kernel=None,
            artifacts=tmp_path / "artifacts",
            on_event=lambda event: None,
        )
    assert not (tmp_path / "artifacts").exists()


def test_hosts_with_a_kernel_from_packages_are_provisioned_without_one(tmp_path: Path) -> None:
    packaged = {"nohype_kernel_release": "6.12.117-full-nohype", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"nohype_hosts": {"hosts": {"h": packaged}}}), encoding="utf-8")
    with pytest.raises(HostUnreachableError):  # it got as far as the host, where nothing answers
        provision(
            ["nohype"],
            [replace(HOST, variables=packaged)],
            inventory=inventory,
            image=SimpleNamespace(digest="image", folder=tmp_path),
            kernel=None,
            artifacts=tmp_path / "artifacts",
            on_event=lambda event: None,
        )


def test_unknown_stack_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'kvm-tuned'"):
        digest("kvm-tunde", "image", HOST)


def test_records(tmp_path: Path) -> None:
    """A host that keeps its records in a folder here."""

    class Session:
        def run(self, argv: list[str], *, check: bool) -> Any:
            assert check is False  # grep fails where a file is missing
            here = [word.replace("/etc/nohype/provisioned", str(tmp_path)) for word in argv]
            done = subprocess.run(here, capture_output=True, text=True, check=False)
            return SimpleNamespace(
                exit_code=done.returncode, stdout=done.stdout.replace(str(tmp_path), "/etc/nohype/provisioned")
            )

    def missing(**digests: str) -> tuple[str, ...]:
        return unprovisioned(Session(), digests)  # type: ignore[arg-type]

    given: Any = variables(["kvm", "bare", "xen"], [HOST], image=IMAGE, kernel=None, bundle=Path("/b"))
    right = {name: digest(name, "image", HOST) for name in ("kvm", "bare", "xen")}
    assert missing(**right) == ("kvm", "bare", "xen")
    for path, record in given["nohype_records"]["h"].items():
        (tmp_path / Path(path).name).write_text(record)
    assert missing(**right) == ()
    assert missing(**{**right, "bare": "another", "nohype": "d"}) == ("bare", "nohype")
    assert missing(kvm=right["bare"]) == ("kvm",)
    (tmp_path / "kvm.json").write_text('{"digest": "half a fi')
    (tmp_path / "xen.json").unlink()
    assert missing(**right) == ("kvm", "xen")
    with pytest.raises(InputError, match="unknown stack"):
        missing(kvmm="d")
