"""The QEMU command line of one emulated server (the reasons for each part: docs/explanation/emulated-rack.md)."""

from __future__ import annotations

import shlex

from harness.rack.description import HostDescription
from harness.rack.layout import BMC_VM_PORT, CONSOLE_PORT, EXPORTER_PORT, Slot

# 8 ns an instruction: a host without guests then keeps about the pace of a real clock. At 32 ns its time outran its
# work until systemd's timeouts and the soft-lockup watchdog fired. sleep=on: with sleep=off an idle host's time leaps
# from timer to timer while it waits for the network, some 50 s in each real one (all measured).
ICOUNT = "shift=3,sleep=on"


# Linux finds an AMD IOMMU by ACPI's IVRS, which names a PCI function. With a function of its own, made by us, QEMU can
# save the machine; the one that amd-iommu makes unasked cannot be saved ("non-migratable device").
_IOMMU = {
    "amd": (
        *("-device", "AMDVI-PCI,id=amdvi,addr=0x5"),
        *("-device", "amd-iommu,dma-remap=on,intremap=on,pci-id=amdvi,xtsup={x2apic}"),
    ),
    "intel": ("-device", "intel-iommu,intremap=on,eim={x2apic}"),
}


def qemu_argv(slot: Slot, host: HostDescription, *, deterministic: bool, iommu: str, qemu: str) -> list[str]:
    """The machine, without `-loadvm`. `iommu` is "amd" or "intel"; `qemu` is the version that emulates it."""
    accelerator = (
        ["-accel", "tcg,thread=single", "-icount", ICOUNT] if deterministic else ["-accel", "tcg,thread=multi"]
    )
    # TCG reads the clock in MSR accesses to the x2APIC where -icount forbids it: QEMU ends with "Bad icount read".
    x2apic = not deterministic
    forwards = f"hostfwd=tcp:{slot.address}:22-:22,hostfwd=tcp:{slot.address}:{EXPORTER_PORT}-:{EXPORTER_PORT}"
    number = slot.number
    return [
        "qemu-system-x86_64",
        *("-name", f"{slot.name},debug-threads=on"),
        *("-no-user-config", "-nodefaults", "-display", "none"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *accelerator,
        *("-machine", "q35,kernel-irqchip=split,hpet=on"),
        *("-cpu", f"EPYC-Milan,+svm,+npt,{'+' if x2apic else '-'}x2apic"),
        *("-smp", str(host.cores), "-m", str(host.memory_mib)),
        *(word.format(x2apic="on" if x2apic else "off") for word in _IOMMU[iommu]),
        # Its own disk and boot loader. Losing the last writes at a power cut of the control node costs nothing.
        *("-drive", f"if=none,id=disk,file={slot.disk},format=qcow2,cache=unsafe,discard=unmap"),
        *("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
        # Management network: one user-mode network a host, each with a subnet of its own.
        *("-netdev", f"user,id=mgmt,net=10.0.{10 + number}.0/24,{forwards}"),
        *("-device", f"virtio-net-pci,netdev=mgmt,mac=52:54:00:0a:00:{number:02x},romfile="),
        # Data network: Intel 82576, whose VFs share the wire of the rack: a multicast group on the loopback interface.
        *("-netdev", f"socket,id=data,mcast=230.0.{slot.network}.1:10010,localaddr=127.0.0.1"),
        *("-device", "pcie-root-port,id=slot1,slot=1"),
        *("-device", f"igb,bus=slot1,netdev=data,mac=52:54:00:0b:00:{number:02x},romfile="),
        *("-smbios", f"type=11,value=io.systemd.credential:system.hostname={slot.name}"),
        *("-smbios", f"type=1,manufacturer=NoHype,product=emulated-rack,version=QEMU {qemu},serial={slot.name}"),
        *("-uuid", f"6e6f6879-7065-4061-b573-{number:012d}"),
        # The BMC and the serial console that its SOL serves.
        *("-chardev", f"socket,id=bmc,host={slot.bmc_address},port={BMC_VM_PORT},reconnect-ms=1000"),
        *("-device", "ipmi-bmc-extern,id=bmc0,chardev=bmc", "-device", "isa-ipmi-kcs,bmc=bmc0"),
        *(
            "-chardev",
            f"socket,id=console,host={slot.bmc_address},port={CONSOLE_PORT},server=on,wait=off,telnet=on,"
            f"logfile={slot.console_log},logappend=on",
        ),
        *("-serial", "chardev:console"),
        *("-chardev", f"socket,id=monitor,path={slot.monitor},server=on,wait=off"),
        *("-mon", "chardev=monitor,mode=control"),
        *("-pidfile", str(slot.qemu_pid_file)),
    ]


def power_on_script(slot: Slot, argv: list[str]) -> str:
    """The shell script the BMC runs to switch the server on; it resumes a snapshot where one was asked for."""
    resume = shlex.quote(str(slot.resume_file))
    log = shlex.quote(str(slot.folder / "qemu.log"))
    return (
        "#!/bin/sh\n"
        f"if [ -f {resume} ]; then\n"
        f'  set -- -loadvm "$(cat {resume})"\n'
        f"  rm -f {resume}\n"
        "fi\n"
        f'exec {shlex.join(argv)} "$@" >>{log} 2>&1 </dev/null\n'
    )
