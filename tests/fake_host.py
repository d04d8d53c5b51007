"""FIXTURE: the files of a host, as its exporter reads them, with three guests: g1 runs under stack kvm, n1 has left its
hypervisor, n2 was killed. None of its figures was measured."""

from __future__ import annotations

from pathlib import Path

from harness.onhost import records
from harness.onhost.counters import TRIGGER
from harness.onhost.records import Engagement, Record

GUEST = Record(
    name="g1",
    stack="kvm",
    kind="kvm",
    address="10.79.1.10",
    mac="02:00:00:00:00:01",
    vf="0000:02:10.0",
    image="abc",
    vcpus=2,
    vcpu_threads=(1001, 1002),
    domain=0,
    cpus=(),
    memory_mib=512,
    started_at=1767323045.0,
    unit="nohype-guest-g1.service",
    console="/var/lib/nohype/guests/g1/console.log",
    number=0,
    tap="nhtap0",
    pid=1000,
    pid_start="42",
    ready=True,
    stopped=False,
    base=(),
    final=(),
    engagement=Engagement(),
    stub=(),
    ending=False,
)
_HIST = f"# event histogram\n#\n# trigger info: {TRIGGER} [active]\n#\n\n"
_CODES = {0x60: 322, 0x78: 14, 0x7B: 1490, 0x400: 240}  # intr, hlt, ioio, npf; exits in a unit of time


class FakeHost:
    """`pass_time` lets guest g1 make exits."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._times = 0
        self._event = root / "sys/kernel/tracing/events/kvm/kvm_exit"
        self._event.mkdir(parents=True)
        (root / "sys/module/kvm_amd").mkdir(parents=True)
        self._write("proc/1000/stat", "1000 (qemu) S " + " ".join(["0"] * 18) + " 42 0")
        self._write("proc/sys/kernel/osrelease", "6.12.48+deb13-amd64\n")
        self._write("proc/sys/kernel/random/boot_id", "0000b00f-0000-4000-8000-000000000000\n")
        self._write("proc/cmdline", "root=/dev/vda1 ro nohype.stack=nohype\n")
        for name, pages in (("nr_hugepages", 320), ("free_hugepages", 64)):
            self._write(f"sys/kernel/mm/hugepages/hugepages-2048kB/{name}", f"{pages}\n")
        self._functions()
        records.save(GUEST, root)
        # `ending`: the exporter believes the record, for there is no kernel to ask.
        left = GUEST._replace(name="n1", stack="nohype", ending=True, vcpu_threads=(1011,), vf="", number=1)
        records.save(left._replace(engagement=Engagement("disengaged"), base=()), root)
        dead = Engagement("killed", cause="exit", vcpu=0, reason="ioio")
        killed = left._replace(name="n2", engagement=dead, stopped=True, vcpu_threads=(1021,), number=2)
        records.save(killed._replace(final=((1021, 0, 0x7B, 1),)), root)
        self.pass_time()

    def pass_time(self) -> None:
        self._times += 1
        counts = [(1000 + vcpu, vcpu - 1, code, n * self._times) for code, n in _CODES.items() for vcpu in (1, 2)]
        counts.append((1011, 0, 0x7B, 1490))  # of its boot; none since
        entries = "".join(
            f"{{ common_pid: {thread}, vcpu_id: {vcpu}, exit_reason: {code} }} hitcount: {count}\n"
            for thread, vcpu, code, count in counts
        )
        scratch = self._event / "new"
        scratch.write_text(f"{_HIST}{entries}\nTotals:\n    Hits: 1\n    Entries: {len(counts)}\n    Dropped: 0\n")
        scratch.replace(self._event / "hist")

    def _functions(self) -> None:
        """One card with two virtual functions; g1 has the first."""
        devices = self.root / "sys/bus/pci/devices"
        for name, value in {
            "sriov_totalvfs": "7",
            "sriov_numvfs": "2",
            "net/data0/address": "52:54:00:01:00:01",
        }.items():
            self._write(f"sys/devices/0000:02:00.0/{name}", f"{value}\n")
        devices.mkdir(parents=True)
        (devices / "0000:02:00.0").symlink_to(self.root / "sys/devices/0000:02:00.0")
        driver = self.root / "sys/bus/pci/drivers/vfio-pci"
        driver.mkdir(parents=True)
        for number in range(2):
            folder = self.root / f"sys/devices/0000:02:10.{number * 2}"
            folder.mkdir()
            (folder / "driver").symlink_to(driver)
            (devices / folder.name).symlink_to(folder)
            (self.root / f"sys/devices/0000:02:00.0/virtfn{number}").symlink_to(folder)

    def _write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
