"""The provision digest and the host's record of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness import stacks as stack_room
from harness.errors import HostUnreachableError, InputError, UnavailableError
from harness.hosts.model import Host
from harness.paths import repo_root
from harness.provision.stacks import STACK_PLAYBOOKS, digest, is_provisioned, provision
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


def test_every_stack_has_a_playbook_that_names_it() -> None:
    assert set(STACK_PLAYBOOKS) == set(stack_room.names())
    for stack, name in STACK_PLAYBOOKS.items():
        (play,) = yaml.safe_load((PLAYBOOKS / name).read_text(encoding="utf-8"))
        assert play["vars"]["nohype_stack"] == stack


def test_every_role_of_a_playbook_describes_its_arguments() -> None:
    for name in STACK_PLAYBOOKS.values():
        for role in yaml.safe_load((PLAYBOOKS / name).read_text(encoding="utf-8"))[0]["roles"]:
            assert (PLAYBOOKS / "roles" / role / "meta" / "argument_specs.yml").exists(), role


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
            "nohype",
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
            "nohype",
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


@pytest.mark.parametrize(
    ("exit_code", "stdout", "expected"),
    [
        (0, '{"digest": "d1"}\n', True),
        (0, '{"digest": "d2"}\n', False),
        (0, "half a fi", False),
        (0, "[]", False),
        (1, "", False),
    ],
)
def test_record(exit_code: int, stdout: str, expected: bool) -> None:
    class Session:
        def run(self, argv: list[str], *, check: bool) -> Any:
            assert argv == ["cat", "/etc/nohype/provisioned/kvm.json"]
            assert check is False
            return SimpleNamespace(exit_code=exit_code, stdout=stdout)

    assert is_provisioned(Session(), "kvm", "d1") is expected  # type: ignore[arg-type]
