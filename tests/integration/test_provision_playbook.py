"""The playbook for stacks, whole, on hosts in namespaces: all at once, one after the other, and where one cannot be.

What these hosts lack comes from the test: a kernel to boot, Debian's packages, and what `nohype-host facts` says, which
roles ask. No systemd runs; units are enabled all the same. Servers that boot what came out are in tests/rack.
"""

from __future__ import annotations

import json
import shlex
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from netns_hosts import Machine
from provisioning import play, write_inventory

from harness.campaign.lab import HostLab
from harness.errors import ProvisionError
from harness.guests.image import GuestImage
from harness.hosts.model import Host
from harness.hosts.ssh import connect
from harness.kernel.image import KernelImage
from harness.paths import repo_root
from harness.provision import stacks as provisioning
from harness.provision.model import HostSummary

MakeHost = Callable[..., Host]
MachineOf = Callable[[Host], Machine]
PLAYBOOKS = repo_root() / "playbooks"
DEBIAN, NOHYPE = "6.12.94+deb13-amd64", "6.12.94-nohype"
PF = {"address": "0000:01:00.0", "driver": "igb", "netdev": "data0", "firmware": "", "total_vfs": 7, "vfs": []}
FACTS = {
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
INVENTORY = {
    "nohype_bridge_address": "10.79.1.1/24",
    "nohype_data_pf": "data0",
    "nohype_data_address": "10.78.1.1/16",
    "nohype_vfs": 4,
    "nohype_isolated_cores": "2-3",
    "nohype_hugepages_2m": 320,
    "nohype_extra_cmdline": "console=ttyS0",
}
# It installs itself as nohype-host does, and knows these facts.
AGENT = """\
#!/bin/sh
set -e
if [ "$1" = install ]; then
  version=/usr/local/lib/nohype-host/$(sha1sum "$0" | cut -d ' ' -f 1)
  mkdir -p "$version"
  cp "$0" /usr/local/sbin/nohype-host
  touch "$version/installed"
else
  printf '%s\\n' {facts}
fi
"""
PRESENT = ["python3", "sudo"]  # in place of packages that would have to come from a mirror
FOREIGN = "# somebody's own\nset timeout=3\n"


@dataclass(frozen=True)
class Site:
    """What the control node has for hosts, in a folder."""

    folder: Path

    @property
    def image(self) -> GuestImage:
        return GuestImage("0123abcd", self.folder / "image", "6.12", ("ssh-ed25519 AAAA guest",), Path("/id"))

    def kernel(self, digest: str) -> KernelImage:
        return KernelImage(digest, self.folder / "kernel", NOHYPE, "6.12.94-1", ())

    def provision(
        self, host: Host, *stacks: str, kernel: str = "k1", without: Sequence[str] = (), **extra: object
    ) -> HostSummary:
        """As `provision.provision` does it, but for what these hosts lack. `without`: not in the inventory."""
        own = {key: value for key, value in INVENTORY.items() if key not in without}
        inventory = write_inventory(self.folder, host, aliases={host.name: own})
        built = self.kernel(kernel)
        (built.folder / "manifest.json").write_text(json.dumps({"digest": kernel}))
        given = provisioning.variables(
            stacks, [host], image=self.image, kernel=built, bundle=self.folder / "nohype-host"
        )
        packages = {"base_packages": PRESENT, "nohype_xen_packages": PRESENT}
        variables = {**given, **packages, **extra}
        result, _ = play(self.folder, self.folder / "stacks.yml", inventory, extra_vars=variables)
        return result.hosts[0]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (read,) = yaml.safe_load((PLAYBOOKS / provisioning.PLAYBOOK).read_text(encoding="utf-8"))
    files = [str(PLAYBOOKS / name) for name in read["vars_files"]]
    offline = {**read, "vars_files": files, "environment": {"SYSTEMD_OFFLINE": "1"}}
    (tmp_path / "stacks.yml").write_text(yaml.safe_dump([offline], sort_keys=False), encoding="utf-8")
    (tmp_path / "nohype-host").write_text(AGENT.format(facts=shlex.quote(json.dumps(FACTS))))
    for folder, names in (
        ("image", ("vmlinuz", "initrd.img", "rootfs.qcow2", "initrd-ram.img", "manifest.json")),
        ("kernel", ("vmlinuz", "config", "System.map")),
    ):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(f"{name}\n")
    modules = tmp_path / "modules" / NOHYPE
    modules.mkdir(parents=True)
    (modules / "modules.order").touch()
    (modules / "modules.builtin").write_text("kernel/arch/x86/kvm/kvm.ko\n")
    with tarfile.open(tmp_path / "kernel" / "modules.tar", "w") as archive:
        archive.add(modules, NOHYPE)
    return Site(tmp_path)


@pytest.fixture
def make_server(make_host: MakeHost, machine_of: MachineOf) -> MakeHost:
    """Makes hosts with what Debian's kernel and Xen bring, and a boot menu that somebody else has written to."""

    def make(name: str) -> Host:
        host = make_host(name)
        root = machine_of(host).root
        (root / "usr/lib/modules").mkdir()
        (root / "boot/grub").mkdir(exist_ok=True)
        (root / "boot/grub/custom.cfg").write_text(FOREIGN)
        for name in (f"vmlinuz-{DEBIAN}", f"initrd.img-{DEBIAN}", "xen-4.20-amd64.gz", "xen-4.20-amd64.config"):
            (root / "boot" / name).touch()
        (root / "etc/default/grub").write_text("GRUB_DEFAULT=saved\n")
        for name, said in (("grub-probe", "1234-5678"), ("grub-mkrelpath", "/boot")):  # they ask for real disks
            (root / "usr/local/sbin" / name).write_text(f"#!/bin/sh\necho {said}\n")
            (root / "usr/local/sbin" / name).chmod(0o755)
        unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
        (root / "usr/lib/systemd/system/xen.service").write_text(unit)
        return host

    return make


def state(root: Path) -> dict[str, str]:
    """Every file that provisioning may have written, with its content and, where it runs, its place at boot."""
    found = {}
    for folder in ("etc/nohype", "etc/systemd", "etc/modules-load.d", "etc/default", "boot", "var/lib/nohype"):
        for path in sorted((root / folder).rglob("*")):
            name = str(path.relative_to(root))
            if path.is_symlink():
                found[name] = str(path.readlink())
            elif path.is_file() and not name.startswith(f"boot/initrd.img-{NOHYPE}"):  # it holds the hour it was made
                found[name] = path.read_text()
    return found


def entries(root: Path) -> dict[str, str]:
    """The line of each stack's boot entry that names the kernel and its arguments."""
    found, stack = {}, ""
    for line in (root / "boot/grub/custom.cfg").read_text().splitlines():
        words = line.split()
        if line.startswith("# BEGIN nohype-"):
            stack = line.removeprefix("# BEGIN nohype-")
        elif words[:1] == ["linux"] or (words[:1] == ["module2"] and "vmlinuz" in line):
            found[stack] = line.strip()
    return found


def test_together_and_one_by_one_give_the_same_host(make_server: MakeHost, machine_of: MachineOf, site: Site) -> None:
    """In whatever order, with a stack on Xen among them; and again nothing changes, together or alone."""
    one, other = make_server("one"), make_server("other")
    stacks = ("kvm", "kvm-tuned", "nohype", "xen-tuned")
    assert site.provision(one, *stacks).changed > 0
    for stack in ("nohype", "xen-tuned", "kvm", "kvm-tuned"):
        assert site.provision(other, stack).changed > 0
    first = state(machine_of(one).root)
    assert first == state(machine_of(other).root)
    assert {f"etc/nohype/provisioned/{stack}.json" for stack in stacks} <= set(first)
    assert site.provision(one, "kvm-tuned").changed == 0
    assert site.provision(other, *stacks).changed == 0
    assert first == state(machine_of(one).root) == state(machine_of(other).root)
    wanted = {f"etc/systemd/system/multi-user.target.wants/nohype-{name}.service" for name in ("sriov", "exporter")}
    assert wanted <= set(first)


def test_boot_entries(make_server: MakeHost, machine_of: MachineOf, site: Site) -> None:
    host = make_server("menu")
    root = machine_of(host).root
    site.provision(host, *provisioning.STACKS)
    menu = (root / "boot/grub/custom.cfg").read_text()
    assert menu.startswith(FOREIGN + "# BEGIN nohype-bare\nmenuentry ")
    assert menu.count("\n}\n# END nohype-") == len(provisioning.STACKS)
    iommu, isolated = "intel_iommu=on iommu=pt", "isolcpus=managed_irq,domain,2-3 nohz_full=2-3"
    for stack, line in entries(root).items():
        needs = provisioning.STACKS[stack]
        assert f"/vmlinuz-{NOHYPE if needs.kernel else DEBIAN} " in line
        assert f" root=UUID=1234-5678 ro quiet nohype.stack={stack} " in line
        assert " console=ttyS0" in line
        assert (iommu in line) is not needs.xen
        assert (isolated in line) is ("hugepages=320" in line) is needs.isolation
        assert ("nohype.kernel=k1" in line) is needs.kernel
        assert (" nohype.xen=" in line) is needs.xen
    (loader,) = [line for line in menu.splitlines() if "multiboot2" in line and "dom0_vcpus_pin" in line]
    assert loader.endswith("/xen-4.20-amd64.gz dom0_mem=2048M,max:2048M dom0_max_vcpus=2 dom0_vcpus_pin")
    # Another kernel changes its own stack's entry alone; a stack that is provisioned later changes no other's.
    before = entries(root)
    site.provision(host, "nohype", kernel="k2")
    after = entries(root)
    assert {stack for stack in before if before[stack] != after[stack]} == {"nohype"}
    assert "nohype.kernel=k2" in after["nohype"]


def test_what_one_stack_lacks_leaves_no_new_record_and_no_old_one_that_is_wrong(
    make_server: MakeHost, machine_of: MachineOf, site: Site
) -> None:
    host = make_server("lacks")
    root = machine_of(host).root
    site.provision(host, "kvm", "nohype")
    with pytest.raises(ProvisionError, match=r"nohype_isolated_cores .* must be set .*: kvm-tuned, nohype set them"):
        site.provision(host, "kvm", "kvm-tuned", "nohype", kernel="k2", without=["nohype_isolated_cores"])
    with connect(host) as session:
        digests = {
            name: provisioning.digest(name, site.image.digest, host, kernel_digest="k1")
            for name in ("kvm", "kvm-tuned", "nohype")
        }
        assert provisioning.unprovisioned(session, digests) == ("kvm-tuned", "nohype")
    site.provision(host, "kvm", without=["nohype_isolated_cores"])
    assert [path.name for path in (root / "etc/nohype/provisioned").iterdir()] == ["kvm.json"]


def test_a_package_that_one_stack_lacks_does_not_keep_others_from_a_host(make_server: MakeHost, site: Site) -> None:
    host = make_server("nopackage")
    missing = {"nohype_xen_packages": ["no-such-package"]}
    with pytest.raises(ProvisionError, match="base: Install missing packages"):
        site.provision(host, "kvm", "xen", **missing)
    site.provision(host, "kvm", **missing)


def test_a_provisioned_host_costs_a_block_one_login_until_it_reboots(
    make_server: MakeHost, machine_of: MachineOf, site: Site
) -> None:
    """Also where a later block's stack is not there yet. What ends it is that these hosts cannot reboot."""
    host = make_server("block")
    site.provision(host, "kvm")
    lab = HostLab([host], site.folder / "hosts.yml", site.image, site.kernel("k1"), None, lambda: False)  # type: ignore[arg-type]
    logins = machine_of(host).log.read_text().count("Accepted publickey")
    told: list[str] = []
    bench = lab.open(host.name)
    bench.prepare("kvm", ("kvm", "nohype"), site.folder, told.append)
    assert told == []
    with pytest.raises(ProvisionError, match="it refuses to reboot"):
        bench.boot("kvm", told.append, fresh=True)
    assert told == ["reboots into kvm"]
    assert machine_of(host).log.read_text().count("Accepted publickey") == logins + 1
    bench.close()
