"""Wrong campaign files: what is said, and for which line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.campaign.resources import check_resources
from harness.campaign.spec import Campaign, load_campaign, usual_baseline
from harness.errors import InputError
from harness.guests.model import Disengagement
from harness.hosts.inventory import Inventory
from harness.hosts.model import Capabilities, Host, PhysicalFunction
from harness.paths import repo_root
from harness.results.model import Fidelity
from harness.workloads.spec import load_workloads

GOOD = """\
name: good
hosts: rack1
stacks: [kvm, kvm-tuned]
boots: 2
guest:
  vcpus: 1
  memory_mib: 512
workloads:
  - name: boot
  - name: cpu
    seconds: 5
"""


def host(name: str, fidelity: Fidelity = Fidelity.EMULATED, **variables: object) -> Host:
    settings: dict[str, object] = {
        "nohype_data_pf": "data0",
        "nohype_vfs": 4,
        "nohype_isolated_cores": "2-3",
        "nohype_hugepages_2m": 320,
    }
    nowhere = Path("/nowhere")
    return Host(name, name, 22, "nohype", nowhere, nowhere, fidelity, None, settings | variables)


HOSTS = (host("rack1"), host("rack2"), host("metal1", Fidelity.SILICON))
INVENTORY = Inventory(Path("/somewhere/hosts.yml"), HOSTS, {"rack": ("rack1", "rack2")})
WORKLOADS = load_workloads()


def read(path: Path, text: str = GOOD, inventory: Inventory = INVENTORY) -> Campaign:
    path.write_text(text)
    return load_campaign(path, WORKLOADS, inventory)


def test_a_good_file(tmp_path: Path) -> None:
    campaign = read(tmp_path / "good.yml", GOOD.replace("hosts: rack1", "hosts: rack"))
    assert [each.name for each in campaign.hosts] == ["rack1", "rack2"]
    assert campaign.fidelity is Fidelity.EMULATED
    assert set(campaign.workloads) == {"boot", "cpu"}
    assert campaign.text == GOOD.replace("hosts: rack1", "hosts: rack")


def test_the_repositorys_own() -> None:
    for path in (repo_root() / "campaigns").glob("*.yml"):
        inventory = Inventory(INVENTORY.path, HOSTS[:1])
        assert load_campaign(path, WORKLOADS, inventory).spec.name == path.stem


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("boots: 2", "boot: 2", 4, "boot: unknown key; did you mean 'boots'?"),
        ("boots: 2", "boots: two", 4, "boots: Input should be a valid integer"),
        ("boots: 2", "boots: 0", 4, "boots: Input should be greater than or equal to 1"),
        ("boots: 2\n", "", 1, "boots: this key is required"),
        ("boots: 2", "boots: 2\nboots: 3", 5, "key 'boots' is given twice"),
        ("name: good", "name: Good", 1, "name: String should match pattern"),
        ("[kvm, kvm-tuned]", "[kvm, kvm-tune]", 3, "stacks[1]: unknown stack 'kvm-tune'; did you mean 'kvm-tuned'?"),
        ("[kvm, kvm-tuned]", "[kvm, kvm]", 3, "stacks[1]: stack 'kvm' is named twice"),
        ("[kvm, kvm-tuned]", "kvm", 3, "stacks: must be a list such as [a, b]"),
        (
            "boots: 2",
            "boots: 2\nbaseline: nohype",
            5,
            "baseline: 'nohype' is none of the campaign's stacks",
        ),
        ("[kvm, kvm-tuned]", "[]", 3, "stacks: Value should have at least 1 item"),
        (
            "hosts: rack1",
            "hosts: rakc1",
            2,
            "hosts: no host or group matches 'rakc1'; did you mean 'rack1'? (inventory /somewhere/hosts.yml)",
        ),
        ("hosts: rack1", "hosts: rack*,!rack1,!rack2", 2, "hosts: no host is left by 'rack*,!rack1,!rack2'"),
        ("hosts: rack1", "hosts: all", 2, "hosts: hosts of different fidelity: rack2 is emulated, metal1 is silicon"),
        ("  - name: cpu", "  - name: cpus", 10, "workloads[1].name: unknown workload 'cpus'; did you mean 'cpu'?"),
        ("  - name: cpu", "  - name: boot", 10, "workloads[1].name: workload 'boot' is named twice"),
        ("    seconds: 5", "    second: 5", 11, "workloads[1].second: unknown key; did you mean 'seconds'?"),
        ("    seconds: 5", "    seconds: 5.5", 11, "workloads[1].seconds: Input should be a valid integer"),
        ("    seconds: 5", "    repeats: 0", 11, "workloads[1].repeats: Input should be greater than or equal to 1"),
        (
            "  - name: boot",
            "  - name: boot\n    seconds: 3",
            10,
            "workloads[0].seconds: workload 'boot' takes as long as a boot takes",
        ),
        ("  vcpus: 1", "  cpus: 1", 6, "guest.cpus: unknown key; did you mean 'vcpus'?"),
        ("  memory_mib: 512", "  memory_mib: 512 MiB", 7, "guest.memory_mib: Input should be a valid integer"),
        ("boots: 2", "power_cycle: twice\nboots: 2", 4, "power_cycle: Input should be 'once' or 'never'"),
        ("boots: 2", "boots: [2", 5, "not valid YAML: expected ',' or ']', but got ':'"),
    ],
)
def test_wrong_files(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    path = tmp_path / "good.yml"
    assert old in GOOD
    with pytest.raises(InputError) as error:
        read(path, GOOD.replace(old, new, 1))
    assert f"{path}:{line}: {message}" in str(error.value)
    assert error.value.exit_code == 2


NOHYPE = GOOD.replace("kvm-tuned", "nohype")


def test_guests_that_leave_their_hypervisor_have_one_vcpu_unless_an_open_icr_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "good.yml"
    closed = read(path, f"{NOHYPE}deadlines:\n  disengage: 30\n").spec.disengagement
    assert closed == Disengagement("closed", 30.0)
    with pytest.raises(InputError) as error:
        read(path, NOHYPE.replace("vcpus: 1", "vcpus: 2"))
    assert error.value.where == f"{path}:6"
    assert error.value.what.startswith("guest.vcpus: stack 'nohype': guests with several vCPUs do not disengage")
    assert "one vCPU" in error.value.fix
    assert "`icr: open`" in error.value.fix
    assert "unsafe" in error.value.fix
    assert read(path, NOHYPE.replace("vcpus: 1", "vcpus: 2\n  icr: open")).spec.disengagement.icr == "open"
    assert read(path, GOOD.replace("vcpus: 1", "vcpus: 2")).spec.guest.icr is None  # other stacks have no such limit


def test_icr_is_refused_where_no_guest_leaves_its_hypervisor_or_as_another_word(tmp_path: Path) -> None:
    path = tmp_path / "good.yml"
    with pytest.raises(InputError, match=r"guest\.icr: it concerns guests of stack 'nohype', which is none") as error:
        read(path, GOOD.replace("vcpus: 1", "vcpus: 1\n  icr: open"))
    assert error.value.where == f"{path}:7"
    with pytest.raises(InputError, match=r"guest\.icr: Input should be 'closed' or 'open'"):
        read(path, NOHYPE.replace("vcpus: 1", "vcpus: 1\n  icr: half"))


def test_a_workload_that_needs_more_vcpus_than_guests_have(tmp_path: Path) -> None:
    needy = WORKLOADS["cpu"].model_copy(
        update={"name": "needy", "needs": WORKLOADS["cpu"].needs.model_copy(update={"vcpus": 2})}
    )
    path = tmp_path / "good.yml"
    path.write_text(GOOD.replace("name: cpu", "name: needy"))
    with pytest.raises(InputError) as error:
        load_campaign(path, {**WORKLOADS, "needy": needy}, INVENTORY)
    assert error.value.where == f"{path}:10"
    assert error.value.what == "workloads[1].name: workload 'needy' needs 2 vCPUs, guests have 1"


def test_a_workload_that_needs_a_hypervisor_is_refused_beside_a_stack_without(tmp_path: Path) -> None:
    path = tmp_path / "good.yml"
    needy = GOOD.replace("name: cpu\n    seconds: 5", "name: known-exits")
    assert read(path, needy).workloads["known-exits"].needs.hypervisor
    with pytest.raises(InputError) as error:
        read(path, needy.replace("kvm-tuned", "nohype"))
    assert error.value.where == f"{path}:10"
    assert "workloads[1].name: workload 'known-exits' makes VM exits on purpose" in error.value.what
    assert "stack 'nohype'" in error.value.what


@pytest.mark.parametrize(
    ("text", "run", "baseline"),
    [
        ("baseline: kvm-tuned", {"kvm", "kvm-tuned"}, "kvm-tuned"),
        ("name: x", {"nohype", "kvm"}, "kvm"),
        ("name: x", {"xen", "nohype"}, "nohype"),
        ("no: [yaml", {"xen"}, "xen"),
        ("", set(), "kvm"),
    ],
)
def test_the_usual_baseline(text: str, run: set[str], baseline: str) -> None:
    assert usual_baseline(text, run) == baseline


def test_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yml").write_text(GOOD)
    with pytest.raises(InputError, match=r"no such file; did you mean 'quickstart\.yml'\?"):
        load_campaign(tmp_path / "quickstrat.yml", WORKLOADS, INVENTORY)


ABLE = Capabilities(
    virtualization="svm",
    nested_paging=True,
    iommu_groups=12,
    x2apic=True,
    cores=4,
    isolated=(),  # as after a boot into kvm; the inventory says what kvm-tuned will have
    memory_mib=2900,
    hugepages_total={"2048": 0},
    hugepages_free={"2048": 0},
    physical_functions=(PhysicalFunction("0000:02:00.0", "igb", "data0", "1.0", 7, ()),),
    kernel="6.12",
    cmdline="",
    boot_id="b",
    stack="kvm",
)


def test_guests_that_fit(tmp_path: Path) -> None:
    check_resources(read(tmp_path / "good.yml"), {"rack1": ABLE})
    check_resources(read(tmp_path / "good.yml"), {})  # a host that cannot be asked is no reason to refuse


@pytest.mark.parametrize(
    ("old", "new", "able", "message"),
    [
        ("vcpus: 1", "vcpus: 8", {}, "6: guest.vcpus: rack1: stack kvm: 8 vCPUs wanted, the host has 4 cores"),
        (
            "vcpus: 1",
            "vcpus: 3",
            {},
            "6: guest.vcpus: rack1: stack kvm-tuned: 3 isolated cores wanted, 2 of 2 are free",
        ),
        (
            "memory_mib: 512",
            "memory_mib: 4096",
            {},
            "7: guest.memory_mib: rack1: stack kvm: 4096 MiB wanted, the host has 2900 MiB",
        ),
        (
            "memory_mib: 512",
            "memory_mib: 1024",
            {},
            "7: guest.memory_mib: rack1: stack kvm-tuned: 1024 MiB of hugepages wanted, 640 MiB are free",
        ),
        ("", "", {"virtualization": ""}, "3: stacks[0]: rack1: cannot run kvm: its CPU shows neither SVM nor VMX"),
        ("", "", {"physical_functions": ()}, "3: stacks[1]: rack1: cannot run kvm-tuned: no NIC can have SR-IOV"),
        (
            "",
            "",
            {"physical_functions": (replace(ABLE.physical_functions[0], netdev="eth9"),)},
            "5: guest: rack1: stack kvm-tuned: no virtual function is free (of 0 bound to vfio-pci)",
        ),
    ],
)
def test_guests_that_cannot_fit_are_refused_before_anything_starts(
    tmp_path: Path, old: str, new: str, able: dict[str, object], message: str
) -> None:
    path = tmp_path / "good.yml"
    campaign = read(path, GOOD.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        check_resources(campaign, {"rack1": replace(ABLE, **able)})  # type: ignore[arg-type]
    assert f"{path}:{message}" in str(error.value)
