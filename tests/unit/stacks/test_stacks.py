from dataclasses import replace

import pytest

from harness import stacks
from harness.errors import InputError, UnavailableError
from harness.guests.model import Disengagement
from harness.hosts.model import Capabilities, PhysicalFunction, VirtualFunction, Xen

VFS = tuple(VirtualFunction(f"0000:02:10.{n * 2}", n, "vfio-pci", 20 + n, "", "") for n in range(2))
PF = PhysicalFunction("0000:02:00.0", "igb", "data0", "", 7, VFS)
# An emulated rack's host, booted into kvm-tuned.
TUNED = Capabilities(
    virtualization="svm",
    nested_paging=True,
    iommu_groups=12,
    x2apic=True,
    cores=4,
    isolated=(2, 3),
    memory_mib=2900,
    hugepages_total={"2048": 320},
    hugepages_free={"2048": 320},
    physical_functions=(PF,),
    kernel="6.12.0",
    cmdline="intel_iommu=on iommu=pt nohype.stack=kvm-tuned",
    boot_id="b",
    stack="kvm-tuned",
)
# The same host booted into nohype.
NOHYPE = replace(
    TUNED,
    kernel="6.12.117-nohype",
    cmdline="intel_iommu=on iommu=pt nohype.stack=nohype",
    stack="nohype",
    interrupt_remapping=True,
    nohype=("closed", "open"),
)
BARE = replace(
    TUNED, isolated=(), hugepages_total={"2048": 0}, hugepages_free={"2048": 0}, iommu_groups=0, cmdline="ro", stack="",
    physical_functions=(replace(PF, vfs=()),),
)  # fmt: skip


def test_names() -> None:
    assert stacks.names() == ("kvm", "kvm-tuned", "nohype", "xen", "xen-pvh", "xen-tuned", "bare")
    assert all(stacks.get(name).name == name for name in stacks.names())
    with pytest.raises(InputError, match="did you mean 'kvm-tuned'"):
        stacks.get("kvm-tune")


# The same host booted into Xen; its control domain has the first two cores.
XEN = replace(
    TUNED,
    iommu_groups=0,
    x2apic=False,
    hugepages_total={},
    hugepages_free={},
    physical_functions=(replace(PF, vfs=tuple(replace(vf, driver="pciback", iommu_group=None) for vf in VFS)),),
    cmdline="nohype.stack=xen-tuned",
    stack="xen-tuned",
    xen=Xen("4.20.5-pre", "credit2", "dom0_max_vcpus=2 dom0_vcpus_pin", 2013, directio=True),
)


def test_guests_of_xen() -> None:
    hvm, pvh = (stacks.get(name).guest_spec("g", 1, 512, "abc", XEN, frozenset()) for name in ("xen", "xen-pvh"))
    assert (hvm.kind, pvh.kind) == ("hvm", "pvh")
    assert {(spec.nic, spec.cpus, spec.hugepages) for spec in (hvm, pvh)} == {("bridge", (), False)}
    tuned = stacks.get("xen-tuned").guest_spec("g", 1, 512, "abc", XEN, frozenset({2}))
    assert (tuned.kind, tuned.nic, tuned.cpus) == ("hvm", "vf", (3,))
    with pytest.raises(UnavailableError, match="2 cores wanted, 1 of 2"):
        stacks.get("xen-tuned").guest_spec("g", 2, 512, "abc", XEN, frozenset({2}))
    with pytest.raises(UnavailableError, match="Xen has 2013 MiB free"):
        stacks.get("xen").guest_spec("g", 1, 2014, "abc", XEN, frozenset())


def test_what_xen_needs() -> None:
    assert XEN.xen
    tuned = stacks.get("xen-tuned")
    assert tuned.problems(XEN) == ()
    assert tuned.problems(TUNED) == ()  # a host that runs another stack
    (problem,) = tuned.problems(replace(XEN, xen=replace(XEN.xen, commandline="sched=null")))
    assert "asked for sched=null and runs credit2" in problem
    (problem,) = stacks.get("xen").problems(replace(XEN, stack="xen", xen=None))
    assert "not Xen" in problem
    assert ["IOMMU" in text for text in tuned.problems(replace(XEN, xen=replace(XEN.xen, directio=False)))] == [True]
    for name in ("kvm", "kvm-tuned", "nohype"):  # a host found under Xen can be booted into them
        assert stacks.get(name).problems(XEN) == ()


def test_kvm_takes_nothing_for_itself() -> None:
    spec = stacks.get("kvm").guest_spec("g", 2, 512, "abc", TUNED, frozenset({2, 3}))
    assert (spec.nic, spec.cpus, spec.hugepages, spec.idle_in_guest) == ("bridge", (), False, False)
    assert (spec.name, spec.stack, spec.vcpus, spec.memory_mib, spec.image) == ("g", "kvm", 2, 512, "abc")


def test_tuned_pins_each_vcpu_to_a_free_isolated_core() -> None:
    tuned = stacks.get("kvm-tuned")
    spec = tuned.guest_spec("g", 2, 512, "abc", TUNED, frozenset())
    assert (spec.nic, spec.cpus, spec.hugepages, spec.idle_in_guest) == ("vf", (2, 3), True, True)
    assert tuned.guest_spec("g", 1, 512, "abc", TUNED, frozenset({2})).cpus == (3,)


def test_nohype_has_its_parts_of_the_host_and_leaves_its_hypervisor() -> None:
    spec = stacks.get("nohype").guest_spec("g", 1, 512, "abc", NOHYPE, frozenset({2}))
    assert (spec.nic, spec.cpus, spec.hugepages, spec.disengage) == ("vf", (3,), True, True)
    assert not stacks.get("kvm-tuned").guest_spec("g", 1, 512, "abc", TUNED, frozenset()).disengage


def test_nohype_guests_have_several_vcpus_where_that_is_asked_for_and_the_kernel_lets_them() -> None:
    nohype = stacks.get("nohype")
    asked = Disengagement("open", 30.0)
    spec = nohype.guest_spec("g", 2, 512, "abc", NOHYPE, frozenset(), asked)
    assert (spec.cpus, spec.icr, spec.disengage_seconds) == ((2, 3), "open", 30.0)
    closed = replace(NOHYPE, nohype=("closed",))
    alone = nohype.guest_spec("g", 1, 512, "abc", closed, frozenset())
    assert (alone.cpus, alone.icr, alone.disengage_seconds) == ((2,), "closed", 120.0)
    with pytest.raises(InputError, match=r"with several vCPUs do not disengage .* 2 vCPUs wanted") as error:
        nohype.guest_spec("g", 2, 512, "abc", NOHYPE, frozenset())
    assert "--icr open" in error.value.fix
    with pytest.raises(UnavailableError, match="no guest with icr open disengage: it offers closed"):
        nohype.guest_spec("g", 2, 512, "abc", closed, frozenset(), asked)
    # Asked before the host was booted into the stack, the running kernel says nothing.
    assert nohype.guest_spec("g", 2, 512, "abc", TUNED, frozenset(), asked).cpus == (2, 3)


@pytest.mark.parametrize("name", ["kvm", "kvm-tuned", "bare"])
def test_guests_that_keep_their_hypervisor_are_made_without(name: str) -> None:
    spec = stacks.get(name).guest_spec("g", 1, 512, "abc", TUNED, frozenset(), Disengagement("open", 30.0))
    assert (spec.icr, spec.disengage_seconds) == ("", 0)


def test_a_lost_core_is_nobodys() -> None:
    assert stacks.get("nohype").guest_spec("g", 1, 512, "abc", replace(NOHYPE, lost=(2,)), frozenset()).cpus == (3,)


def test_core_0_is_the_hosts_even_when_isolated() -> None:
    spec = stacks.get("kvm-tuned").guest_spec("g", 1, 512, "abc", replace(TUNED, isolated=(0, 1)), frozenset())
    assert spec.cpus == (1,)


@pytest.mark.parametrize(
    ("host", "vcpus", "memory", "busy", "message"),
    [
        (TUNED, 3, 512, (), "3 isolated cores wanted, 2 of 2 are free"),
        (TUNED, 2, 512, (3,), "2 isolated cores wanted, 1 of 2 are free"),
        (TUNED, 1, 642, (), "642 MiB of hugepages wanted, 640 MiB are free"),
        (
            replace(TUNED, physical_functions=(replace(PF, vfs=tuple(replace(v, guest="x") for v in VFS)),)),
            *(1, 512, (), r"no virtual function is free \(of 2"),
        ),
        (
            replace(TUNED, physical_functions=(replace(PF, vfs=tuple(replace(v, driver="igbvf") for v in VFS)),)),
            *(1, 512, (), r"no virtual function is free \(of 0"),
        ),
    ],
)
def test_tuned_says_what_is_lacking_now(
    host: Capabilities, vcpus: int, memory: int, busy: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UnavailableError, match=message):
        stacks.get("kvm-tuned").guest_spec("g", vcpus, memory, "abc", host, frozenset(busy))


@pytest.mark.parametrize(("vcpus", "memory", "message"), [(5, 512, "4 cores"), (1, 4000, "2900 MiB")])
def test_kvm_says_what_is_lacking_now(vcpus: int, memory: int, message: str) -> None:
    with pytest.raises(UnavailableError, match=message):
        stacks.get("kvm").guest_spec("g", vcpus, memory, "abc", TUNED, frozenset())


@pytest.mark.parametrize(("name", "booted"), [("kvm", TUNED), ("kvm-tuned", TUNED), ("nohype", NOHYPE)])
def test_a_good_host_has_no_problems_before_and_after_provisioning(name: str, booted: Capabilities) -> None:
    assert stacks.get(name).problems(BARE) == ()
    assert stacks.get(name).problems(booted) == ()


@pytest.mark.parametrize(
    ("name", "host", "reasons"),
    [
        ("kvm", replace(TUNED, virtualization=""), ["neither SVM nor VMX"]),
        ("kvm", replace(TUNED, nested_paging=False), ["NPT"]),
        ("kvm", replace(TUNED, nested_paging=False, virtualization="vmx"), ["EPT"]),
        ("kvm", replace(TUNED, physical_functions=(), iommu_groups=0, isolated=()), []),
        ("kvm-tuned", replace(BARE, physical_functions=()), ["SR-IOV"]),
        ("kvm-tuned", replace(BARE, cores=1), ["one core"]),
        ("kvm-tuned", replace(TUNED, iommu_groups=0), ["IOMMU groups"]),
        ("kvm-tuned", replace(TUNED, isolated=(0,)), ["no core but 0"]),
        ("kvm-tuned", replace(TUNED, hugepages_total={}), ["hugepages"]),
        ("kvm-tuned", replace(TUNED, physical_functions=(replace(PF, vfs=()),)), ["vfio-pci"]),
        ("kvm-tuned", replace(BARE, stack="kvm-tuned"), ["no core but 0", "hugepages", "vfio-pci"]),
        ("nohype", replace(BARE, physical_functions=()), ["SR-IOV"]),
        (
            "nohype",
            replace(BARE, stack="nohype"),
            ["no core but 0", "hugepages", "vfio-pci", "lets no guest disengage"],
        ),
        ("nohype", replace(NOHYPE, x2apic=False), ["x2APIC"]),
        ("nohype", replace(NOHYPE, interrupt_remapping=False), ["not remapped"]),
        ("nohype", replace(TUNED, interrupt_remapping=False), ["not remapped"]),  # another stack told of it
        ("nohype", replace(NOHYPE, nohype=()), ["6.12.117-nohype"]),
        ("nohype", replace(NOHYPE, virtualization=""), ["neither SVM nor VMX"]),
    ],
)
def test_problems_give_reasons(name: str, host: Capabilities, reasons: list[str]) -> None:
    found = stacks.get(name).problems(host)
    assert len(found) == len(reasons)
    assert all(reason in problem for reason, problem in zip(reasons, found, strict=True))
