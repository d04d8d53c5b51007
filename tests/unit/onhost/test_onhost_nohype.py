"""The kernel's requests for guests without hypervisor: layouts, what statuses mean, real descriptors of processes."""

import ctypes
import errno
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_onhost_counters import HIST, RECORD

from harness.guests.lifecycle import parse
from harness.onhost import counters, facts, guests, kvm, nohype, records
from harness.onhost.errors import AgentError
from harness.onhost.nohype import VcpuStatus
from harness.onhost.records import Engagement

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes descriptors of another process, as on hosts")


def test_requests_have_the_numbers_of_the_kernels_header() -> None:
    # _IOW(0xAE, 0xe0, 32 bytes), _IOWR(0xAE, 0xe1, 88 bytes), _IO(0xAE, 0xe2); KVM_CHECK_EXTENSION is _IO(0xAE, 0x03)
    assert nohype.PERMIT == 0x4020AEE0
    assert nohype.STATUS == 0xC058AEE1
    assert nohype.KILL == 0xAEE2
    assert nohype.CHECK_EXTENSION == 0xAE03


def test_a_status_is_read_by_the_kernels_layout() -> None:
    data = struct.pack("<I", 1) + struct.pack("<I", 3) + struct.pack("<I", 1) + struct.pack("<i", -1)
    data += b"".join(struct.pack("<Q", n) for n in (0x7B, 0x6080210, 2, 0xFFFFFFFF8103C2B0, 11, 12, 1, 95, 1))
    assert len(data) == 88
    found = VcpuStatus(*nohype.STATUS_LAYOUT.unpack(data))
    assert (found.vcpu, found.state, found.cause, found.cpu, found.exit_code) == (1, 3, 1, -1, 0x7B)
    assert (found.exit_info_1, found.exit_info_2, found.rip) == (0x6080210, 2, 0xFFFFFFFF8103C2B0)
    assert (found.disengage_ns, found.killed_ns, found.exits, found.refused, found.flags) == (11, 12, 1, 95, 1)


@pytest.mark.parametrize(
    ("cpus", "bitmap"),
    [((2, 3), b"\x0c" + bytes(7)), ((1, 64, 127), b"\x02" + bytes(7) + b"\x01" + bytes(6) + b"\x80")],
)
def test_a_permit_has_the_kernels_layout_and_points_to_the_guests_cores(cpus: tuple[int, ...], bitmap: bytes) -> None:
    asked = nohype.request("open", cpus, 90.5)
    icr, flags, deadline_ms, eventfd, pointer, length, reserved = struct.unpack("<IIIiQII", asked.data)
    assert (len(asked.data), icr, flags, deadline_ms, eventfd, reserved) == (32, 2, 1, 90_500, -1, 0)
    assert ctypes.string_at(pointer, length) == bitmap
    assert struct.unpack_from("<I", nohype.request("closed", cpus, 1).data) == (1,)


NO_EXIT = 2**64 - 1


def _status(vcpu: int = 0, **changes: int) -> VcpuStatus:
    quiet = VcpuStatus(vcpu, 2, 0, 2 + vcpu, NO_EXIT, 0, 0, 0, 1, 0, 0, 0, 0)
    return quiet._replace(**changes)


DEAD = {"state": 3, "cause": 1, "exits": 1}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([_status(state=1)], Engagement("engaged")),
        ([_status(state=1, refused=errno.EBUSY)], Engagement("engaged", "EBUSY")),
        ([_status(), _status(1)], Engagement("disengaged")),
        (
            [_status(**DEAD, exit_code=0x7C, exit_info_1=1, rip=0xFF00)],
            Engagement("killed", "", "exit", 0, "msr", "0x1", "0x0", "0xff00"),
        ),
        (  # vCPU 1 exits, vCPU 0 is stopped for it
            [_status(**DEAD, exit_code=0x61), _status(1, **DEAD, exit_code=0x400, exit_info_2=0xFEE00000, rip=16)],
            Engagement("killed", "", "exit", 1, "npf", "0x0", "0xfee00000", "0x10"),
        ),
        (
            [_status(state=3, cause=2, exits=1, exit_code=0x61, rip=16)],
            Engagement("killed", "", "asked", 0, "nmi", "0x0", "0x0", "0x10"),
        ),
        ([_status(state=3, cause=4)], Engagement("killed", "", "torn down")),
        # The second core answered neither NMI nor INIT.
        (
            [_status(state=3, cause=2, exits=1, exit_code=0x61, rip=16), _status(1, state=3, cause=2, flags=1)],
            Engagement("killed", "", "asked", 0, "nmi", "0x0", "0x0", "0x10", (3,)),
        ),
        ([_status(state=3, cause=4, flags=1)], Engagement("killed", "", "torn down", lost=(2,))),
        ([_status(flags=1)], Engagement("disengaged", lost=(2,))),
        ([_status(state=3, cause=5)], Engagement("killed", "", "deadline")),
        ([_status(state=3, cause=6, refused=errno.EXDEV)], Engagement("killed", "EXDEV", "refused")),
        # VMEXIT_INVALID is all ones, as is the code of a vCPU that has none: the count tells them apart.
        ([_status(**DEAD)], Engagement("killed", "", "exit", 0, "invalid", "0x0", "0x0", "0x0")),
    ],
)
def test_what_statuses_say_of_their_guest(statuses: list[VcpuStatus], expected: Engagement) -> None:
    assert nohype.engagement(statuses, "svm", (2, 3)) == expected


def test_each_vcpu_has_at_most_its_last_exit() -> None:
    statuses = [_status(), _status(1, **DEAD, exit_code=0x7B), _status(2, **DEAD)]
    assert nohype.stub_rows(statuses, (11, 12, 13)) == ((12, 1, 0x7B, 1), (13, 2, 0xFFFFFFFF, 1))


@pytest.mark.parametrize(
    ("number", "policy", "message"),
    [
        (errno.ENOTTY, "closed", "no NoHype kernel (ENOTTY)"),
        (errno.EOPNOTSUPP, "closed", "cannot do it (EOPNOTSUPP)"),
        (errno.EBUSY, "closed", "have run already (EBUSY)"),
        (errno.EINVAL, "closed", "does not know this request (EINVAL)"),
        (errno.EINVAL, "open", "no guests with an open ICR (EINVAL)"),
        (errno.ENOMEM, "closed", "Cannot allocate memory (ENOMEM)"),
    ],
)
def test_refusals_say_why_and_what_to_do(number: int, policy: str, message: str) -> None:
    error = nohype.refusal(OSError(number, os.strerror(number)), policy)
    assert message in error.what
    assert error.where == "KVM_NOHYPE_PERMIT"
    assert error.fix


# An eventfd is, as a VM is, an anonymous inode with a name. It counts what is written to it.
HOLDER = """
import os, sys
fd = os.eventfd(0)
print(fd, flush=True)
sys.stdin.read(1)
print(os.eventfd_read(fd), flush=True)
"""


@pytest.fixture
def holder() -> Iterator["subprocess.Popen[str]"]:
    """Another process that has an eventfd open."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@needs_root
def test_another_processs_descriptor_is_found_by_name_and_duplicated(holder: "subprocess.Popen[str]") -> None:
    taken = nohype.duplicate(holder.pid, "anon_inode:[eventfd]")
    try:
        os.eventfd_write(taken, 42)
    finally:
        os.close(taken)
    told, _ = holder.communicate("x", timeout=10)
    assert told.strip() == "42"


@needs_root
def test_a_process_without_such_a_descriptor_has_no_vm(holder: "subprocess.Popen[str]") -> None:
    with pytest.raises(ProcessLookupError, match="kvm-vm"):
        nohype.duplicate(holder.pid, "anon_inode:kvm-vm")


def test_a_process_that_has_ended_has_no_vm() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(ProcessLookupError):
        nohype.duplicate(ended.pid, "anon_inode:kvm-vm")


def test_a_guest_keeps_what_was_last_seen_of_it_when_its_qemu_has_ended() -> None:
    record = RECORD._replace(pid=2**22 + 1, engagement=Engagement("disengaged"), stub=((1, 0, 0x7B, 1),))
    assert nohype.refreshed(record) == record


@needs_root
def test_a_qemu_that_has_let_go_of_its_vm_is_as_one_that_has_ended(holder: "subprocess.Popen[str]") -> None:
    start = records.process_start(holder.pid)
    record = RECORD._replace(pid=holder.pid, pid_start=start, engagement=Engagement("disengaged"))
    assert records.is_running(record)
    assert nohype.refreshed(record) == record


@pytest.mark.parametrize("content", [None, b""])
def test_a_host_without_kvm_or_with_another_offers_nothing(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "dev").mkdir()
    if content is not None:
        (tmp_path / "dev/kvm").write_bytes(content)
    assert nohype.policies(tmp_path) == ()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (RECORD._replace(stopped=True, engagement=Engagement("disengaged")), "has ended"),
        (RECORD._replace(stopped=True, stack="kvm"), "has ended"),
    ],
)
def test_only_a_running_guest_without_hypervisor_is_killed(
    tmp_path: Path, record: records.Record, message: str
) -> None:
    records.save(record, tmp_path)
    with pytest.raises(AgentError, match=message):
        guests.kill("g1", tmp_path)


def test_an_ordinary_guest_is_not_killed(tmp_path: Path) -> None:
    start = records.process_start(os.getpid())
    stat = tmp_path / f"proc/{os.getpid()}/stat"
    stat.parent.mkdir(parents=True)
    stat.write_text(Path(f"/proc/{os.getpid()}/stat").read_text())
    records.save(RECORD._replace(pid=os.getpid(), pid_start=start), tmp_path)
    with pytest.raises(AgentError, match="of stack kvm, whose hypervisor is there") as caught:
        guests.kill("g1", tmp_path)
    assert caught.value.fix == "nohype-host guest destroy g1"
    with pytest.raises(AgentError, match="did you mean 'g1'"):
        guests.kill("g2", tmp_path)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host that counts exits, and on which the QEMU of one guest without hypervisor has just ended."""
    event = tmp_path / "sys/kernel/tracing/events/kvm/kvm_exit"
    event.mkdir(parents=True)
    (event / "hist").write_text(HIST)
    (tmp_path / "sys/module/kvm_amd").mkdir(parents=True)
    (tmp_path / "sys/devices/system/cpu").mkdir(parents=True)
    dead = Engagement("killed", "", "exit", 0, "ioio", "0x0", "0x0", "0xff00")
    record = RECORD._replace(cpus=(2, 3), unit="nohype-guest-of-a-test.service", tap="")
    records.save(record._replace(engagement=dead, stub=((1234, 0, 0x7B, 1),)), tmp_path)
    return tmp_path


def test_a_destroyed_guest_still_shows_how_it_ended(host: Path) -> None:
    (host / "sys/devices/system/cpu/online").write_text("0-3\n")
    (ended,) = guests.destroy("g1", host)
    assert (ended["state"], ended["engagement"]) == ("stopped", guests.listing(host)[0]["engagement"])
    assert guests.listing(host)[0]["engagement"] == {
        **{"state": "killed", "refused": "", "cause": "exit", "vcpu": 0, "reason": "ioio"},
        **{"exit_info_1": "0x0", "exit_info_2": "0x0", "rip": "0xff00", "lost": ()},
    }
    exits = counters.reading(host)["guests"]
    assert exits == {"g1": [[0, "ioio", 5022], [0, "vintr", 2], [1, "npf", 12345678]]}


def test_a_guest_is_not_gone_before_its_cores_are_back(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "RECLAIM_SECONDS", 0.1)
    online = host / "sys/devices/system/cpu/online"
    online.write_text("0-1,3\n")
    for _ in range(2):  # asked again, it is still not gone
        with pytest.raises(AgentError, match=r"return of cores 2, 3 of guest g1 to the host did not happen") as caught:
            guests.destroy("g1", host)
        assert "cpuN/online" in caught.value.fix
    online.write_text("0-3\n")
    assert guests.destroy("g1", host)[0]["state"] == "stopped"


def test_a_core_that_is_lost_is_not_awaited_and_keeps_its_guests_function(host: Path) -> None:
    (record,) = records.load_all(host)
    records.save(record._replace(vf="0000:02:10.0"), host)
    (host / "sys/devices/system/cpu/online").write_text("0-1,3\n")
    (host / "sys/devices/system/cpu/lost").write_text("2\n")
    (ended,) = guests.destroy("g1", host)
    assert ended["state"] == "stopped"
    assert guests.destroy("g1", host) == [ended]
    told = parse(json.loads(json.dumps(ended)), "rack1")
    assert told.engagement.lost == (2,)
    assert records.load_all(host)[0].engagement.lost == (2,)
    assert guests.vfs_in_use(host) == {"0000:02:10.0": "g1"}
    assert facts.capabilities(host)["lost"] == (2,)


def test_cores_without_linux_are_still_the_machines(tmp_path: Path) -> None:
    cpu = tmp_path / "sys/devices/system/cpu"
    cpu.mkdir(parents=True)
    (cpu / "present").write_text("0-3\n")
    (cpu / "online").write_text("0-1\n")
    (cpu / "isolated").write_text("2-3\n")
    found = facts.capabilities(tmp_path)
    assert (found["cores"], found["isolated"], found["nohype"]) == (4, (2, 3), ())
    assert kvm.own_cores((2,), tmp_path) == (0, 1)


@pytest.mark.parametrize(
    ("line", "remapped"),
    [
        (" 24:  0  0  IR-PCI-MSI-0000:00:1f.2    0-edge      ahci[0000:00:1f.2]", True),
        ("  9:  0  0   IR-IO-APIC    9-fasteoi   acpi", True),
        ("  9:  0  0   IO-APIC    9-fasteoi   acpi", False),
    ],
)
def test_interrupt_remapping_shows_in_the_controllers_names(tmp_path: Path, line: str, remapped: bool) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/interrupts").write_text(f"           CPU0       CPU1\n{line}\n")
    assert facts.capabilities(tmp_path)["interrupt_remapping"] is remapped
