"""Xen: its trace, what it says of itself, and the domains that guests become."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from harness.onhost import counters, facts, sriov, system, xen, xen_info
from harness.onhost.errors import AgentError
from harness.onhost.qemu import Resources
from harness.onhost.records import Engagement, Record
from harness.onhost.spec import Spec, parse
from harness.onhost.xen_trace import Decoder

# Ten seconds of one idle PVH guest on a rack host, Xen 4.20: xentrace -D -S 64 -s 50 -e 0xa1000, its beginning.
RECORDED = (Path(__file__).parent / "recorded/xentrace-4.20-idle-pvh.bin").read_bytes()
IDLE = 0x7FFF << 16  # the domain that runs where nobody else does
ENTRY, EXIT32, EXIT64 = 0x80081001, 0xA0081003, 0xB0081103
RUNS, LEAVES, GOES_ON, LOST = 0x90021101, 0x90021021, 0x90021002, 0xC001F001


def record(head: int, *words: int) -> bytes:
    return struct.pack(f"<IQ{len(words)}I", head, 0x1234567890, *words)


def window(cpu: int, *records: bytes) -> bytes:
    body = b"".join(records)
    return struct.pack("<III", 0x2001F003, cpu, len(body)) + body


def fed(*pieces: bytes) -> Decoder:
    decoder = Decoder()
    for piece in pieces:
        decoder.feed(piece)
    return decoder


def test_a_recorded_trace_is_counted() -> None:
    decoder = fed(RECORDED)
    assert decoder.dropped == 0
    assert {key[:2] for key in decoder.counts} == {(1, 0)}
    # Counted by hand: every VMEXIT record's header in the stream, none of which stands in another record's body.
    assert decoder.counts.total() == RECORDED.count(struct.pack("<I", EXIT64))


@pytest.mark.parametrize("size", [1, 3, 13, 1000])
def test_pieces_may_end_anywhere(size: int) -> None:
    pieces = [RECORDED[at : at + size] for at in range(0, len(RECORDED), size)]
    assert fed(*pieces).counts == fed(RECORDED).counts


def test_an_exit_belongs_to_what_the_scheduler_put_on_its_cpu() -> None:
    decoder = fed(
        window(2, record(RUNS, 5 << 16 | 1), record(ENTRY), record(EXIT64, 0x7B, 1, 2), record(EXIT32, 0x72, 9)),
        window(3, record(RUNS, 6 << 16), record(ENTRY), record(EXIT64, 0x7B, 1, 2), record(LEAVES, 6 << 16)),
        window(
            2, record(EXIT64, 0x7B, 3, 4), record(RUNS, IDLE), record(GOES_ON, 7 << 16 | 2), record(EXIT64, 1, 0, 0)
        ),
    )
    assert decoder.counts == {(5, 1, 0x7B): 2, (5, 1, 0x72): 1, (6, 0, 0x7B): 1, (7, 2, 1): 1}


def test_an_instruction_pointer_that_looks_like_a_record_is_none() -> None:
    decoder = fed(window(0, record(RUNS, 1 << 16), record(EXIT64, 0x7B, EXIT64, ENTRY), record(EXIT64, 0x78, 0, 0)))
    assert decoder.counts == {(1, 0, 0x7B): 1, (1, 0, 0x78): 1}


def test_what_xen_had_no_room_for_and_exits_of_nobody_are_told() -> None:
    decoder = fed(
        window(1, record(EXIT64, 0x7B, 0, 0)),
        window(1, record(LOST, 40, 2 << 16 | 9, 0, 0), record(EXIT64, 0x78, 0, 0)),
    )
    assert decoder.dropped == 41
    assert decoder.counts == {(9, 2, 0x78): 1}


def test_what_is_no_trace_is_refused() -> None:
    with pytest.raises(ValueError, match="where Xen names a CPU"):
        fed(b"no trace of anything")


SAID = """\
nr_cpus                : 4
virt_caps              : pv hvm hvm_directio pv_directio hap iommu_hap_pt_share gnttab-v1 gnttab-v2
total_memory           : 3071
free_memory            : 2013
xen_version            : 4.20.5-pre
xen_scheduler          : credit2
xen_changeset          :
xen_commandline        : dom0_mem=1024M,max:1024M dom0_max_vcpus=2 dom0_vcpus_pin com1=115200,8n1 console=com1
"""


def test_xen_says_what_it_is() -> None:
    info = xen_info.parse_info(SAID)
    assert (info.version, info.scheduler, info.cores, info.memory_mib, info.free_mib) == (
        *("4.20.5-pre", "credit2"),
        *(4, 3071, 2013),
    )
    assert (info.hvm, info.hap, info.directio) == (True, True, True)
    assert "dom0_vcpus_pin" in info.commandline.split()


@pytest.fixture
def dom0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file system of a control domain with two of four cores, and xl's answer."""
    files = {
        "sys/hypervisor/type": "xen\n",
        "proc/xen/capabilities": "control_d\n",
        "proc/cpuinfo": "vendor_id\t: AuthenticAMD\nflags\t\t: fpu hypervisor\n",
        "proc/cmdline": "nohype.stack=xen-tuned\n",
        "sys/devices/system/cpu/present": "0-1\n",
        "sys/devices/system/cpu/online": "0-1\n",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    image = tmp_path / "var/lib/nohype/guest-images/abc"
    image.mkdir(parents=True)
    for name in ("vmlinuz", "initrd.img", "rootfs.qcow2", "initrd-ram.img", "manifest.json"):
        (image / name).touch()
    monkeypatch.setattr(xen_info, "run", lambda *_, **__: SAID)
    return tmp_path


def test_a_control_domain_tells_of_the_machine_and_not_of_itself(dom0: Path) -> None:
    assert system.on_xen(dom0)
    assert system.isa(dom0) == "svm"  # although its flags do not show it
    assert sriov.guest_driver(dom0) == "pciback"
    able = facts.capabilities(dom0)
    assert (able["virtualization"], able["nested_paging"], able["cores"], able["memory_mib"]) == ("svm", True, 4, 3071)
    assert able["isolated"] == (2, 3)
    (dom0 / "proc/xen/capabilities").write_text("")
    assert not system.on_xen(dom0)  # a Linux guest of Xen is no host


DOCUMENT = {"name": "g1", "stack": "xen", "vcpus": 1, "memory_mib": 512, "image": "abc", "nic": "bridge", "kind": "hvm"}


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"kind": "kvm"}, "kind", "this host runs Xen"),
        ({"kind": "xen"}, "kind", "one of kvm, bare, hvm, pvh"),
        ({"kind": "pvh", "nic": "vf"}, "nic", "HVM guests, not to PVH"),
        ({"vcpus": 5}, "vcpus", "1 to 4"),
        ({"cpus": [4]}, "cpus", "not online; online: 0, 1, 2, 3"),
    ],
)
def test_what_xen_cannot_be_asked_for(dom0: Path, changes: dict[str, object], key: str, message: str) -> None:
    parse(DOCUMENT, dom0)
    with pytest.raises(AgentError, match=message) as caught:
        parse(DOCUMENT | changes, dom0)
    assert caught.value.where == f"guest spec: {key}"


def test_a_kvm_host_makes_no_domains(dom0: Path) -> None:
    (dom0 / "sys/hypervisor/type").unlink()
    with pytest.raises(AgentError, match="this host runs KVM"):
        parse(DOCUMENT, dom0)


GIVEN = Resources(
    image=Path("/images/abc"),
    kernel=Path("/images/abc/vmlinuz"),
    address="10.79.1.10",
    gateway="10.79.1.1",
    netmask="255.255.255.0",
    mac="02:00:00:00:00:01",
    tap="",
    vf="",
    vhost=False,
    console_log=Path("/c"),
    console_socket=Path("/s"),
    qmp_socket=Path("/q"),
)


def settings(spec: Spec, given: Resources) -> dict[str, object]:
    lines = [
        line.split(" = ", 1) for line in xen.domain_config(spec, given, Path("/guests/g1/disk.qcow2")).splitlines()
    ]
    return {key: json.loads(value) for key, value in lines}


def test_a_plain_domain() -> None:
    found = settings(Spec("g1", "xen-pvh", 2, 512, "abc", "bridge", kind="pvh"), GIVEN)
    assert (found["type"], found["vcpus"], found["memory"]) == ("pvh", 2, 512)
    assert found["vif"] == ["mac=02:00:00:00:00:01,bridge=nohype0"]
    assert found["cmdline"] == (
        "root=/dev/xvda rw console=hvc0 net.ifnames=0 "
        "ip=10.79.1.10::10.79.1.1:255.255.255.0:g1:eth0:none panic=-1 quiet"
    )
    assert not {"pci", "cpus"} & set(found)


def test_a_tuned_domain() -> None:
    spec = Spec("g1", "xen-tuned", 2, 512, "abc", "vf", cpus=(2, 3), kind="hvm", extra_cmdline='quote="x"')
    found = settings(spec, GIVEN._replace(vf="0000:01:10.0"))
    assert (found["pci"], found["cpus"]) == (["0000:01:10.0"], ["2", "3"])
    assert str(found["cmdline"]).endswith('quote="x"')
    assert "vif" not in found


def test_a_domains_exits_are_found_by_its_number() -> None:
    record = Record(
        *(
            "g1",
            "xen",
            "hvm",
            "10.79.1.10",
            "02:00:00:00:00:01",
            "",
            "abc",
            2,
            (),
            7,
            (),
            512,
            1.0,
            "unit",
            "/c",
            0,
            "",
        ),
        *(1, "42", True, False, (), (), Engagement(), (), False),
    )
    histogram = counters.Histogram({(7, 0, 0x7B): 5, (7, 1, 0x78): 2, (8, 0, 0x7B): 9}, 0)
    assert counters.named(counters.rows_of(record, histogram), "svm") == [[0, "ioio", 5], [1, "hlt", 2]]
