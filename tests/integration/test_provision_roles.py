"""What roles make of a host's capabilities: refusals that say what to mend, and files."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from certificates import self_signed
from netns_hosts import Machine
from provisioning import play, write_inventory, write_playbook

from harness.errors import ProvisionError
from harness.hosts.model import Host
from harness.onhost.web import web_config
from harness.paths import repo_root
from harness.provision.stacks import STACKS

ROLES = repo_root() / "playbooks" / "roles"

# As `nohype-host facts` prints it on an emulated host, shortened to what roles ask for.
PF = {"address": "0000:01:00.0", "driver": "igb", "netdev": "data0", "firmware": "", "total_vfs": 7, "vfs": []}
CAPABLE: dict[str, object] = {
    "virtualization": "svm",
    "nested_paging": True,
    "iommu_groups": 12,
    "interrupt_remapping": True,
    "x2apic": True,
    "cores": 4,
    "memory_mib": 2957,
    "physical_functions": [PF],
    "cmdline": "root=UUID=1 ro quiet",
    "xen": None,
}
KVM = {"kvm_bridge_address": "10.79.1.1/24", "kvm_isolated_cores": "2-3", "kvm_hugepages_2m": 320}
SRIOV = {"sriov_pf": "data0", "sriov_address": "10.78.1.1/16", "sriov_vfs": 4, "sriov_stacks": ["kvm-tuned"]}


def refusals(host: Host, folder: Path, role: str, cases: dict[str, dict[str, object]]) -> dict[str, str]:
    """What the role says to each case's variables; the cases are aliases of one host, so one run does all."""
    playbook = write_playbook(folder, roles=({"role": str(ROLES / role)},))
    inventory = write_inventory(folder, host, aliases=cases)
    with pytest.raises(ProvisionError) as caught:
        play(folder, playbook, inventory)
    said = {}
    for line in caught.value.what.splitlines()[1:]:
        name, _, message = line.strip().partition(": ")
        said[name] = message
    return said


def test_kvm_refuses(netns_host: Host, tmp_path: Path) -> None:
    def case(capabilities: dict[str, object] | None = None, **variables: object) -> dict[str, object]:
        return {**KVM, "kvm_capabilities": {**CAPABLE, **(capabilities or {})}, **variables}

    said = refusals(
        netns_host,
        tmp_path,
        "kvm",
        {
            "shadow": case({"nested_paging": False}),
            "nobridge": case(kvm_bridge_address=""),
            "core0": case(kvm_isolated_cores="0,2"),
            "beyond": case(kvm_isolated_cores="2,3-4"),
            "pages": case(kvm_hugepages_2m=1300),
        },
    )
    start = "kvm: The host must be able to run KVM, with what its inventory sets aside: "
    assert said == {
        "shadow": start + "nested paging is off: kvm_amd.npt or kvm_intel.ept must be on, shadow paging would change "
        "what is measured",
        "nobridge": start
        + "nohype_bridge_address is not set for this host in the inventory (for example 10.79.1.1/24)",
        "core0": start + "nohype_isolated_cores 0,2 holds core 0, which the host itself needs",
        "beyond": start + "nohype_isolated_cores 2,3-4 goes beyond the host's 4 cores (0 to 3)",
        "pages": start + "nohype_hugepages_2m 1300 is 2600 MiB; of the host's 2957 MiB at least 512 MiB must stay for "
        "itself",
    }


def test_sriov_refuses(netns_host: Host, tmp_path: Path) -> None:
    def case(capabilities: dict[str, object] | None = None, **variables: object) -> dict[str, object]:
        return {**SRIOV, "sriov_capabilities": {**CAPABLE, **(capabilities or {})}, **variables}

    off = {"iommu_groups": 0, "cmdline": "ro intel_iommu=on"}
    said = refusals(
        netns_host,
        tmp_path,
        "sriov",
        {
            "nogroups": case(off),
            "otherpf": case(sriov_pf="eth9"),
            "nopf": case({"physical_functions": []}),
            "toomany": case(sriov_vfs=8),
            "none": case(sriov_vfs=0),
            "noname": case({"physical_functions": [{**PF, "netdev": ""}]}, sriov_pf="0000:01:00.0"),
            "noaddress": case(sriov_address=""),
        },
    )
    start = "sriov: The host must be able to give virtual functions to guests: "
    assert said["nogroups"].startswith(start)
    assert "there are no IOMMU groups although the kernel was booted with the IOMMU on" in said["nogroups"]
    assert said["otherpf"] == (
        start + "nohype_data_pf eth9 is no SR-IOV physical function; this host has: data0 = 0000:01:00.0"
    )
    assert said["nopf"] == (
        start + "nohype_data_pf data0 is no SR-IOV physical function; this host has: none: is SR-IOV on in the "
        "firmware setup?"
    )
    assert said["toomany"] == start + (
        "nohype_vfs 8 is not possible: data0 can have 1 to 7 virtual functions (sriov_totalvfs)"
    )
    assert "nohype_vfs 0 is not possible" in said["none"]
    assert "physical function 0000:01:00.0 has no network device" in said["noname"]
    assert "nohype_data_address is not set" in said["noaddress"]


def test_nohype_kernel_refuses(netns_host: Host, tmp_path: Path) -> None:
    image = {"digest": "d1", "folder": str(tmp_path), "release": "6.12.0-nohype"}

    def case(**capabilities: object) -> dict[str, object]:
        return {"nohype_kernel_image": image, "nohype_kernel_capabilities": {**CAPABLE, **capabilities}}

    said = refusals(
        netns_host,
        tmp_path,
        "nohype_kernel",
        {
            "intel": case(virtualization="vmx"),
            "shadow": case(nested_paging=False),
            "xapic": case(x2apic=False),
            "direct": case(interrupt_remapping=False, cmdline="ro intel_iommu=on"),
            "nocard": case(physical_functions=[]),
            "single": case(cores=1),
        },
    )
    start = "nohype_kernel: The host must be able to run guests without hypervisor: "
    assert all(message.startswith(start) for message in said.values())
    assert "the CPU has no SVM (vmx)" in said["intel"]
    assert "nested paging is off" in said["shadow"]
    assert "the CPU offers no x2APIC" in said["xapic"]
    assert "interrupts are not remapped although the kernel was booted with the IOMMU on" in said["direct"]
    assert "no network card can have SR-IOV virtual functions" in said["nocard"]
    assert "it has one core" in said["single"]


def test_the_kernel_is_brought_once_and_replaced_by_another(
    netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    """The initramfs is made by the host's own tool, here tiny-initramfs, as on the rack."""
    release = "6.12.0-nohype"
    folder = tmp_path / "kernel"
    folder.mkdir()
    modules = tmp_path / "modules" / release
    modules.mkdir(parents=True)
    (modules / "modules.order").touch()
    (modules / "modules.builtin").write_text("kernel/arch/x86/kvm/kvm.ko\n")
    with tarfile.open(folder / "modules.tar", "w") as archive:
        archive.add(modules, release)

    def bring(digest: str) -> int:
        for name in ("vmlinuz", "config", "System.map"):
            (folder / name).write_text(f"{name} of {digest}\n")
        (folder / "manifest.json").write_text(json.dumps({"digest": digest}))
        image = {"digest": digest, "folder": str(folder), "release": release}
        variables = {"nohype_kernel_image": image, "nohype_kernel_capabilities": CAPABLE}
        role = {"role": str(ROLES / "nohype_kernel"), "vars": variables}
        result, _ = play(tmp_path, write_playbook(tmp_path, roles=(role,)), inventory)
        return result.hosts[0].changed

    inventory = write_inventory(tmp_path, netns_host)
    root = machine_of(netns_host).root
    (root / "usr/lib/modules").mkdir()  # a host that boots has a kernel, and so this
    assert bring("d1") > 0
    assert (root / f"boot/vmlinuz-{release}").read_text() == "vmlinuz of d1\n"
    assert (root / f"boot/initrd.img-{release}").stat().st_size > 1000
    assert (root / "usr/lib/modules" / release / "modules.builtin").exists()
    assert bring("d1") == 0
    (root / "usr/lib/modules" / release / "left-over").touch()
    assert bring("d2") > 0
    assert (root / f"boot/vmlinuz-{release}").read_text() == "vmlinuz of d2\n"
    assert not (root / "usr/lib/modules" / release / "left-over").exists()
    assert (root / "lib").is_symlink()


def test_a_host_with_a_kernel_from_packages_is_brought_none(
    netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    variables: dict[str, object] = {
        "nohype_kernel": {"digest": "", "folder": "", "release": ""},  # as where the control node has built none
        "nohype_kernel_release": "6.12.117-full-nohype",
        "nohype_kernel_capabilities": CAPABLE,
    }
    playbook = write_playbook(tmp_path, roles=({"role": str(ROLES / "nohype_kernel"), "vars": variables},))
    result, _ = play(tmp_path, playbook, write_inventory(tmp_path, netns_host))
    assert result.hosts[0].changed == 0
    assert not list((machine_of(netns_host).root / "boot").glob("*-nohype"))


def test_no_iommu_in_the_firmware(netns_host: Host, tmp_path: Path) -> None:
    capabilities = {**CAPABLE, "iommu_groups": 0}
    cases: dict[str, dict[str, object]] = {"bare": {**SRIOV, "sriov_capabilities": capabilities}, "again": {**SRIOV}}
    cases["again"]["sriov_capabilities"] = capabilities
    if Path("/sys/firmware/acpi/tables/DMAR").exists() or Path("/sys/firmware/acpi/tables/IVRS").exists():
        pytest.skip("this machine's firmware offers an IOMMU")
    said = refusals(netns_host, tmp_path, "sriov", cases)
    assert "the firmware offers no IOMMU: switch VT-d or AMD-Vi on" in said["bare"]


def test_units_and_network_files(netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path) -> None:
    """systemd's own checker reads what the roles wrote. No systemd runs on these hosts; the rack's tests have one."""
    (machine_of(netns_host).root / "etc/nohype").mkdir()
    (machine_of(netns_host).root / "usr/local/sbin/nohype-host").touch(mode=0o755)
    exporter: dict[str, object] = {"exporter_closed_to": ["10.79.1.1/24", "10.78.1.1/16"]}
    exporter["exporter_web"] = dict(zip(("cert", "key"), map(str, self_signed(tmp_path)), strict=True))
    exporter["agent_program"] = {"changed": False}
    roles = (
        {"role": str(ROLES / "kvm"), "vars": {**KVM, "kvm_capabilities": CAPABLE}},
        {"role": str(ROLES / "sriov"), "vars": {**SRIOV, "sriov_capabilities": CAPABLE}},
        {"role": str(ROLES / "exporter"), "vars": exporter},
    )
    check = {
        "name": "Check the units",
        "ansible.builtin.shell": {"cmd": "systemd-analyze verify --man=no /etc/systemd/system/nohype-*.service"},
        "register": "found",
        "changed_when": False,
        "failed_when": "found.rc != 0 or found.stderr != ''",
    }
    playbook = write_playbook(tmp_path, check, roles=roles, environment={"SYSTEMD_OFFLINE": "1"})
    play(tmp_path, playbook, write_inventory(tmp_path, netns_host))
    etc = machine_of(netns_host).root / "etc"
    assert json.loads((etc / "nohype/sriov.json").read_text()) == {"pf": "0000:01:00.0", "vfs": 4}
    modules = (etc / "modules-load.d/nohype-kvm.conf").read_text().splitlines()
    assert [line for line in modules if not line.startswith("#")] == ["vhost_net", "tun"]
    assert "Address=10.78.1.1/16" in (etc / "systemd/network/50-nohype-data.network").read_text()
    assert "Name=data0" in (etc / "systemd/network/50-nohype-data.network").read_text()
    assert (
        "ConditionKernelCommandLine=|nohype.stack=kvm-tuned"
        in (etc / "systemd/system/nohype-sriov.service").read_text()
    )
    unit = (etc / "systemd/system/nohype-exporter.service").read_text()
    assert "IPAddressDeny=10.79.1.1/24\n" in unit
    assert "--listen 0.0.0.0:9177 --web.config.file /etc/nohype/exporter/web.json\n" in unit
    written = json.loads((etc / "nohype/exporter/web.json").read_text())
    found = web_config(written, "web.json")
    assert (etc / "nohype/exporter" / Path(found.key_file).name).stat().st_mode & 0o777 == 0o600
    assert not found.users
    wanted = {path.name for path in (etc / "systemd/system/multi-user.target.wants").iterdir()}
    assert {"nohype-sriov.service", "nohype-exporter.service"} <= wanted


@pytest.mark.parametrize(
    ("stack", "message"), [("kvm", "no Debian kernel"), ("nohype", "/boot/vmlinuz-6.12.0-nohype is missing")]
)
def test_no_kernel_to_boot(netns_host: Host, tmp_path: Path, stack: str, message: str) -> None:
    variables = {"boot_entry_stacks": [asdict(STACKS[stack])], "boot_entry_kernel_release": "6.12.0-nohype"}
    role = {"role": str(ROLES / "boot_entry"), "vars": variables}
    with pytest.raises(ProvisionError, match=message):
        play(tmp_path, write_playbook(tmp_path, roles=(role,)), write_inventory(tmp_path, netns_host))


def test_small_files_come_whole_and_once(
    netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    root = machine_of(netns_host).root
    inventory = write_inventory(tmp_path, netns_host)

    def files(state: str = "present", **texts: str) -> int:
        content = {f"/etc/probe/{name}": text for name, text in texts.items()}
        task = {"name": "Write", "nohype_files": {"files": content, "state": state}}
        result, _ = play(tmp_path, write_playbook(tmp_path, task), inventory)
        return result.hosts[0].changed

    assert files(one='{"a": 1}\n', two="zwei\n") == 1
    assert (root / "etc/probe/one").read_text() == '{"a": 1}\n'
    assert (root / "etc/probe/two").stat().st_mode & 0o7777 == 0o644
    assert files(one='{"a": 1}\n', two="zwei\n") == 0
    (root / "etc/probe/two").chmod(0o600)
    assert files(two="zwei\n") == 1
    assert (root / "etc/probe/two").stat().st_mode & 0o7777 == 0o644
    assert files(state="withdrawn", one="other\n", two="zwei\n", three="drei\n") == 1
    assert [path.name for path in (root / "etc/probe").iterdir()] == ["two"]
    assert files(state="withdrawn", one="other\n", two="zwei\n") == 0
    (root / "etc/probe/folder").mkdir()
    with pytest.raises(ProvisionError, match="/etc/probe/folder: Is a directory"):
        files(folder="text\n")
