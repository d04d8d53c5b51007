"""Inventories are read by the real Ansible; what is wrong in them is named by file, line, host and key."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.hosts.inventory import load_inventory
from harness.results.model import Fidelity

GOOD = """\
all:
  children:
    nohype_hosts:
      vars:
        ansible_user: nohype
        ansible_ssh_private_key_file: ~/.ssh/id_ed25519
        nohype_known_hosts: "{{ inventory_dir }}/known_hosts"
        nohype_fidelity: silicon
      children:
        old_rack:
          hosts:
            r630:
              ansible_host: "192.0.2.{{ place }}"
              place: 7
              lab_secret: !vault |
                $ANSIBLE_VAULT;1.1;AES256
                6131
        new_rack:
          hosts:
            r760-1: {ansible_host: 192.0.2.8, nohype_data_address: 10.78.2.1/16}
            r760-2:
              ansible_host: 192.0.2.9
              nohype_bmc: {kind: ipmi, address: 192.0.2.109, user: admin, password_env: BMC_PASSWORD}
    others:
      hosts:
        printer: {ansible_host: 192.0.2.200}
"""


def write(folder: Path, text: str, name: str = "hosts.yml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def test_ansible_decides_what_a_host_is(tmp_path: Path) -> None:
    write(tmp_path, "nohype_vfs: 4\n", "group_vars/new_rack.yml")
    write(tmp_path, "nohype_vfs: 6\n", "host_vars/r760-2.yml")
    inventory = load_inventory(write(tmp_path, GOOD))
    assert [host.name for host in inventory.hosts] == ["r630", "r760-1", "r760-2"]
    first, second, third = inventory.hosts
    assert (first.address, first.port, first.user) == ("192.0.2.7", 22, "nohype")
    assert first.known_hosts == tmp_path / "known_hosts"
    assert first.private_key == Path("~/.ssh/id_ed25519").expanduser()
    assert first.fidelity is Fidelity.SILICON
    assert [host.variables["nohype_vfs"] for host in inventory.hosts] == [0, 4, 6]
    assert (second.bmc, third.bmc and third.bmc.port) == (None, 623)
    assert "lab_secret" not in first.variables

    def names(pattern: str) -> list[str]:
        return [host.name for host in inventory.select(pattern)]

    assert names("all") == ["r630", "r760-1", "r760-2"]
    assert names("r760-*") == names("new_rack") == names("all,!r630") == names("!old_rack") == ["r760-1", "r760-2"]
    assert names("r760-2,r630") == ["r630", "r760-2"]
    for pattern, message in (
        ("r761-1", "did you mean 'r760-1'"),
        ("new-rack", "did you mean 'new_rack'"),
        ("printer", "no host or group matches 'printer'"),
        ("r630,!r630", "no host is left"),
    ):
        with pytest.raises(InputError, match=message):
            inventory.select(pattern)


def test_a_home_that_cannot_be_written_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/dev/null")  # services have theirs read-only
    assert [host.name for host in load_inventory(write(tmp_path, GOOD)).hosts] == ["r630", "r760-1", "r760-2"]


def test_all_that_is_wrong_with_a_host_is_told_with_its_lines(tmp_path: Path) -> None:
    write(tmp_path, "nohype_hugepages_2m: many\n", "group_vars/all.yml")
    path = write(
        tmp_path,
        """\
        nohype_hosts:
          vars:
            ansible_user: nohype
            nohype_fidelity: emulatd
          hosts:
            a:
              ansible_host: 192.0.2.1
              ansible_ssh_private_key_file: keys/id
              nohype_bmc:
                kind: ipmi
                adress: 192.0.2.101
                user: admin
              nohype_vf: 4
              nohype_data_address: 10.78.1.1
              nohype_isolated_cores: two
        """,
    )
    with pytest.raises(InputError) as caught:
        load_inventory(path)
    text = str(caught.value)
    for line, message in (
        (4, "host a: nohype_fidelity: must be one of silicon, emulated, emulated-icount; did you mean 'emulated'?"),
        (8, "host a: ansible_ssh_private_key_file: must be a full path"),
        (11, "host a: nohype_bmc.adress: unknown key; did you mean 'address'?"),
        (9, "host a: nohype_bmc.address: this key is required"),
        (13, "host a: nohype_vf: unknown key; did you mean 'nohype_vfs'?"),
        (14, "host a: nohype_data_address: needs its prefix length"),
        (15, "host a: nohype_isolated_cores: must be a list of cores"),
        (6, "host a: nohype_known_hosts: this key is required"),
    ):
        assert f"{path}:{line}: {message}" in text, text
    assert f"{tmp_path}/group_vars/all.yml:1: host a: nohype_hugepages_2m" in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("host_b", "line", "message"),
    [
        ("ansible_host: 192.0.2.1", 10, "host b: ansible_host: 192.0.2.1 belongs to a already"),
        ("nohype_data_address: 10.78.1.1/24", 10, "host b: nohype_data_address: 10.78.1.1 belongs to a already"),
        (
            "nohype_bmc: {kind: ipmi, address: 192.0.2.101, user: admin}",
            10,
            "host b: nohype_bmc: 192.0.2.101 belongs to a already",
        ),
        (
            "ansible_ssh_common_args: -o StrictHostKeyChecking=no",
            10,
            "StrictHostKeyChecking=no would trust any host key",
        ),
        ("nohype_data_pf: '{{ nowhere }}'", 10, "host b: nohype_data_pf: .*nowhere"),
    ],
)
def test_hosts_that_would_disturb_each_other_or_trust_anybody(
    tmp_path: Path, host_b: str, line: int, message: str
) -> None:
    path = write(
        tmp_path,
        f"""\
        nohype_hosts:
          vars: {{ansible_user: u, ansible_ssh_private_key_file: /k, nohype_known_hosts: /h, nohype_fidelity: silicon}}
          hosts:
            a:
              ansible_host: 192.0.2.1
              nohype_data_address: 10.78.1.1/16
              nohype_bmc: {{kind: ipmi, address: 192.0.2.101, user: admin}}
            b:
              ansible_user: v
              {host_b}
        """,
    )
    with pytest.raises(InputError, match=message) as caught:
        load_inventory(path)
    assert caught.value.where == f"{path}:{line}"


def test_files_that_are_no_inventory(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("nohype_hosts", "nohype_host"))
    with pytest.raises(InputError, match=r"no hosts in group 'nohype_hosts'; did you mean 'nohype_host'\?"):
        load_inventory(path)
    with pytest.raises(InputError, match=r"hots.yml: no such inventory; did you mean 'hosts.yml'?"):
        load_inventory(tmp_path / "hots.yml")
    with pytest.raises(InputError, match=r"hosts.yml:2: not valid YAML"):
        load_inventory(write(tmp_path, "all: {\n"))
    with pytest.raises(InputError, match=r"hosts.yml:3: key 'all.vars' is given twice"):
        load_inventory(write(tmp_path, "all:\n  vars: {}\n  vars: {}\n"))
    with pytest.raises(InputError, match="Ansible cannot read the inventory"):
        load_inventory(write(tmp_path, "- a\n- b\n"))
