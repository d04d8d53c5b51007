"""What this host can do now (the keys of harness.hosts.model.Capabilities) and what it is (its fingerprint)."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from . import nohype, sriov, xen_info
from .guests import vfs_in_use
from .system import (
    ROOT,
    cpuinfo,
    isa,
    isolated_cpus,
    link_name,
    lost_cpus,
    memory_kib,
    number,
    on_xen,
    present_cpus,
    run,
    text,
)

_STACK = re.compile(r"(?:^|\s)nohype\.stack=(\S+)")


def capabilities(root: Path = ROOT) -> dict[str, object]:
    """Discovered capabilities; nothing is changed."""
    info = cpuinfo(root)
    flags = set(info.get("flags", "").split())
    flavour = "svm" if "svm" in flags else "vmx" if "vmx" in flags else ""
    cmdline = text(root / "proc/cmdline")
    pools = sorted((root / "sys/kernel/mm/hugepages").glob("hugepages-*kB"))
    sizes = {pool: pool.name.removeprefix("hugepages-").removesuffix("kB") for pool in pools}
    groups = root / "sys/kernel/iommu_groups"
    pfs = sriov.physical_functions(root, guests=vfs_in_use(root))
    found: dict[str, object] = {
        "virtualization": flavour,
        "nested_paging": _nested_paging(flavour, flags, root),
        "iommu_groups": sum(1 for _ in groups.iterdir()) if groups.is_dir() else 0,
        "x2apic": "x2apic" in flags,
        "cores": len(present_cpus(root)),  # those of guests without hypervisor are offline
        "isolated": isolated_cpus(root),
        "memory_mib": memory_kib("MemTotal", root) // 1024,
        "hugepages_total": {sizes[pool]: number(pool / "nr_hugepages") for pool in pools},
        "hugepages_free": {sizes[pool]: number(pool / "free_hugepages") for pool in pools},
        "physical_functions": [pf.document() for pf in pfs],
        "kernel": text(root / "proc/sys/kernel/osrelease"),
        "cmdline": cmdline,
        "boot_id": text(root / "proc/sys/kernel/random/boot_id"),
        "stack": stack_of(cmdline),
        "interrupt_remapping": _interrupt_remapping(root),
        "nohype": nohype.policies(root),
        "lost": lost_cpus(root),
        "xen": None,
    }
    return found | (_seen_by_xen(root) if on_xen(root) else {})


def fingerprint(root: Path = ROOT) -> dict[str, str]:
    """Flat text facts that decide what a measurement means; equal for two boots of one configuration."""
    info = cpuinfo(root)
    cpu = root / "sys/devices/system/cpu"
    facts = {
        "cpu.vendor": info.get("vendor_id", ""),
        "cpu.model": info.get("model name", ""),
        "cpu.signature": "/".join(info.get(key, "") for key in ("cpu family", "model", "stepping")),
        "cpu.microcode": info.get("microcode", ""),
        "cpu.flags": " ".join(sorted(info.get("flags", "").split())),
        "cpu.online": text(cpu / "online"),
        "cpu.isolated": text(cpu / "isolated"),
        "cpu.nohz_full": text(cpu / "nohz_full").replace("(null)", ""),
        "cpu.smt": text(cpu / "smt/control"),
        "cpu.governor": text(cpu / "cpu0/cpufreq/scaling_governor", "none"),
        "cpu.idle_driver": text(cpu / "cpuidle/current_driver", "none"),
        "clocksource": text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "kernel.release": text(root / "proc/sys/kernel/osrelease"),
        "kernel.version": text(root / "proc/sys/kernel/version"),
        "kernel.cmdline": text(root / "proc/cmdline"),
        "memory.mib": str(memory_kib("MemTotal", root) // 1024),
        "memory.transparent_hugepages": text(root / "sys/kernel/mm/transparent_hugepage/enabled"),
        "os.name": _os_name(root),
        "qemu.version": _qemu_version(),
        "python.version": platform.python_version(),
    }
    if on_xen(root):
        xen = xen_info.info()
        facts |= {
            "xen.version": xen.version,
            "xen.scheduler": xen.scheduler,
            "xen.commandline": xen.commandline,
            "xen.cores": str(xen.cores),
            "xen.memory_mib": str(xen.memory_mib),
        }
    for name in (
        "sys_vendor",
        "product_name",
        "product_version",
        "board_name",
        "bios_vendor",
        "bios_version",
        "bios_date",
    ):
        group, _, rest = name.partition("_")
        key = f"bios.{rest}" if group == "bios" else f"machine.{name}"
        facts[key] = text(root / "sys/class/dmi/id" / name)
    for path in sorted((cpu / "vulnerabilities").glob("*")):
        facts[f"mitigations.{path.name}"] = text(path)
    for pool in sorted((root / "sys/kernel/mm/hugepages").glob("hugepages-*kB")):
        facts[f"memory.{pool.name}"] = text(pool / "nr_hugepages")
    module = {"svm": "kvm_amd", "vmx": "kvm_intel"}.get(isa(root), "")
    for name in filter(None, ("kvm", module)):
        for path in sorted((root / "sys/module" / name / "parameters").glob("*")):
            facts[f"{name}.{path.name}"] = text(path)
    for pf in sriov.physical_functions(root):
        device = root / "sys/bus/pci/devices" / pf.address
        facts[f"nic.{pf.address}.id"] = f"{text(device / 'vendor')}:{text(device / 'device')}"
        facts[f"nic.{pf.address}.driver"] = link_name(device / "driver")
        facts[f"nic.{pf.address}.firmware"] = pf.firmware
        facts[f"nic.{pf.address}.vfs"] = str(len(pf.vfs))
    return dict(sorted(facts.items()))


def _seen_by_xen(root: Path) -> dict[str, object]:
    """What Xen keeps from its control domain. `isolated`: the cores it has none of."""
    info = xen_info.info()
    own = len(present_cpus(root)) if "dom0_vcpus_pin" in info.commandline.split() else info.cores
    return {
        "virtualization": isa(root) if info.hvm else "",
        "nested_paging": info.hap,
        "cores": info.cores,
        "isolated": tuple(range(own, info.cores)),
        "memory_mib": info.memory_mib,
        "xen": {
            "version": info.version,
            "scheduler": info.scheduler,
            "commandline": info.commandline,
            "free_mib": info.free_mib,
            "directio": info.directio,
        },
    }


def stack_of(cmdline: str) -> str:
    """The stack a kernel command line names (`nohype.stack=kvm`), "" if none."""
    found = _STACK.search(cmdline)
    return found.group(1) if found else ""


def _nested_paging(flavour: str, flags: set[str], root: Path) -> bool:
    """Whether KVM uses nested paging; where KVM is not loaded, whether the CPU has it."""
    module, parameter = ("kvm_amd", "npt") if flavour == "svm" else ("kvm_intel", "ept")
    setting = text(root / "sys/module" / module / "parameters" / parameter)
    return setting in ("Y", "1") if setting else parameter in flags


def _interrupt_remapping(root: Path) -> bool:
    """Whether devices' interrupts go through the IOMMU: the kernel puts IR- before the names of such controllers."""
    return " IR-" in text(root / "proc/interrupts")


def _os_name(root: Path) -> str:
    for line in text(root / "etc/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip('"')
    return ""


def _qemu_version() -> str:
    """The package's version (exact, and quick to ask), else what QEMU says of itself."""
    package = run(["dpkg-query", "--show", "--showformat=${Version}", "qemu-system-x86"], check=False).strip()
    if package:
        return package
    return run(["qemu-system-x86_64", "--version"], check=False).partition("\n")[0]
