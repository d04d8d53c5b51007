"""Guest specs: what is refused and what the message teaches; QEMU's command line for what is taken."""

from dataclasses import asdict, fields, replace
from itertools import pairwise
from pathlib import Path

import pytest

from harness.guests.model import GuestSpec
from harness.onhost import qemu, spec
from harness.onhost.errors import AgentError

GOOD = {"name": "g1", "stack": "kvm", "vcpus": 2, "memory_mib": 512, "image": "abc123", "nic": "bridge"}
# A guest that leaves its hypervisor.
ALONE = {
    **{"disengage": True, "nic": "vf", "cpus": [2, 3], "hugepages": True, "icr": "open", "disengage_seconds": 120.0}
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host with four cores, one image and its kernel's file."""
    cpu = tmp_path / "sys/devices/system/cpu"
    cpu.mkdir(parents=True)
    (cpu / "online").write_text("0-3\n")
    image = tmp_path / "var/lib/nohype/guest-images/abc123"
    image.mkdir(parents=True)
    for name in spec.IMAGE_FILES:
        (image / name).touch()
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.12.117-nohype\n")
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-6.12.117-nohype").touch()
    return tmp_path


def test_keys_are_those_of_the_control_node() -> None:
    assert spec.Spec._fields == tuple(field.name for field in fields(GuestSpec))


def test_a_spec_from_the_control_node_is_taken(root: Path) -> None:
    placed = GuestSpec("g1", "kvm-tuned", 2, 512, "abc123", "vf", (2, 3), True, True, "nokaslr", ",-kvmclock", True)
    wanted = replace(placed, icr="open", disengage_seconds=90.5)
    assert spec.parse(asdict(wanted), root) == tuple(asdict(wanted).values())


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        ({"vcpu": 1}, "vcpu", "did you mean 'vcpus'"),
        ({"name": "-g"}, "name", "not beginning with '-'"),
        ({"name": "G"}, "name", "a-z"),
        ({"name": "g" * 41}, "name", "1 to 40"),
        ({"name": "../x"}, "name", "a-z"),
        ({"name": 7}, "name", "must be text"),
        ({"stack": "kvm tuned"}, "stack", "only"),
        ({"vcpus": 0}, "vcpus", "1 to 4"),
        ({"vcpus": 5}, "vcpus", "4 cores online"),
        ({"vcpus": True}, "vcpus", "whole number"),
        ({"vcpus": "2"}, "vcpus", "whole number"),
        ({"memory_mib": 63}, "memory_mib", "at least 64"),
        ({"memory_mib": 513, "hugepages": True}, "memory_mib", "even"),
        ({"nic": "e1000"}, "nic", "'bridge' or 'vf'"),
        ({"cpus": [1]}, "cpus", "1 cores for 2 vCPUs"),
        ({"cpus": [1, 1]}, "cpus", "twice"),
        ({"cpus": [1, 9]}, "cpus", "not online"),
        ({"cpus": "1,2"}, "cpus", "list of core numbers"),
        ({"vcpus": 4, "cpus": [0, 1, 2, 3]}, "cpus", "no core is left"),
        ({"cpu_flags": "-kvmclock"}, "cpu_flags", "comma"),
        ({"cpu_flags": ",x -monitor stdio"}, "cpu_flags", "comma"),
        ({"extra_cmdline": "a\nb"}, "extra_cmdline", "one line"),
        ({"hugepages": 1}, "hugepages", "true or false"),
        ({"image": "../../etc"}, "image", "digest"),
        ({"disengage": 1}, "disengage", "true or false"),
        (ALONE | {"cpus": []}, "cpus", "a core of its own"),
        (ALONE | {"cpus": [0, 1]}, "cpus", "core 0"),
        (ALONE | {"hugepages": False}, "hugepages", "memory"),
        (ALONE | {"nic": "bridge"}, "nic", "needs a hypervisor"),
        (ALONE | {"icr": ""}, "icr", "'closed' or 'open' for a guest that disengages"),
        (ALONE | {"icr": "ajar"}, "icr", "'closed' or 'open'"),
        (ALONE | {"icr": "closed"}, "icr", "must be 'open' for a guest with several vCPUs"),
        (ALONE | {"disengage_seconds": 0}, "disengage_seconds", "more than 0"),
        (ALONE | {"disengage_seconds": 3601}, "disengage_seconds", "at most 3600"),
        (ALONE | {"disengage_seconds": "1"}, "disengage_seconds", "a number of seconds"),
        ({"icr": "open"}, "icr", "only for a guest that disengages"),
        ({"disengage_seconds": 5}, "disengage_seconds", "only for a guest that disengages"),
    ],
)
def test_refusals_name_key_and_reason(root: Path, change: dict[str, object], where: str, message: str) -> None:
    with pytest.raises(AgentError) as caught:
        spec.parse(GOOD | change, root)
    assert caught.value.where == f"guest spec: {where}"
    assert message in caught.value.what


def test_a_lost_core_is_refused(root: Path) -> None:
    cpu = root / "sys/devices/system/cpu"
    (cpu / "online").write_text("0-2\n")
    (cpu / "lost").write_text("3\n")
    with pytest.raises(AgentError, match=r"cores \[3\] are lost: they were not confirmed to have left") as caught:
        spec.parse(GOOD | ALONE, root)
    assert (caught.value.where, caught.value.fix) == ("guest spec: cpus", "reboot the host")


def test_a_missing_key_is_named(root: Path) -> None:
    with pytest.raises(AgentError) as caught:
        spec.parse({key: value for key, value in GOOD.items() if key != "nic"}, root)
    assert caught.value.where == "guest spec: nic"


def test_a_missing_image_says_which_there_are(root: Path) -> None:
    with pytest.raises(AgentError, match=r"images here: abc123") as caught:
        spec.parse(GOOD | {"image": "def456"}, root)
    assert "nohype provision" in caught.value.fix


def _resources(**changes: object) -> qemu.Resources:
    base = qemu.Resources(
        image=Path("/var/lib/nohype/guest-images/abc123"),
        kernel=Path("/var/lib/nohype/guest-images/abc123/vmlinuz"),
        address="10.79.1.10",
        gateway="10.79.1.1",
        netmask="255.255.255.0",
        mac="02:00:00:00:00:01",
        tap="nhtap0",
        vf="",
        vhost=True,
        console_log=Path("/var/lib/nohype/guests/g1/console.log"),
        console_socket=Path("/run/nohype/guests/g1.console"),
        qmp_socket=Path("/run/nohype/guests/g1.qmp"),
    )
    return base._replace(**changes)  # type: ignore[arg-type]


def _options(argv: list[str]) -> list[tuple[str, str]]:
    return [(key, value) for key, value in pairwise(argv) if key.startswith("-")]


def test_plain_guest(root: Path) -> None:
    argv = qemu.argv(spec.parse(GOOD, root), _resources())
    options = _options(argv)
    assert ("-machine", "q35,hpet=off") in options
    assert ("-cpu", "host") in options
    assert ("-smp", "2") in options
    assert ("-m", "512M") in options
    assert ("-netdev", "tap,id=net0,ifname=nhtap0,script=no,downscript=no,vhost=on") in options
    assert ("-device", "virtio-net-pci,netdev=net0,mac=02:00:00:00:00:01,romfile=") in options
    assert not any("vfio" in word or "memory-backend" in word or word == "-overcommit" for word in argv)
    assert "-S" in argv  # placed before it runs
    cmdline = dict(options)["-append"]
    assert cmdline.startswith(
        "root=/dev/vda rw console=ttyS0 net.ifnames=0 ip=10.79.1.10::10.79.1.1:255.255.255.0:g1:eth0:none"
    )


def test_tuned_guest(root: Path) -> None:
    tuned = {"nic": "vf", "cpus": [2, 3], "hugepages": True, "idle_in_guest": True}
    wanted = spec.parse(GOOD | tuned | {"extra_cmdline": "nokaslr", "cpu_flags": ",-kvmclock"}, root)
    argv = qemu.argv(wanted, _resources(tap="", vf="0000:02:10.1"))
    options = _options(argv)
    assert ("-machine", "q35,hpet=off,memory-backend=ram") in options
    backend = "memory-backend-file,id=ram,size=512M,mem-path=/dev/hugepages,share=on,prealloc=on"
    assert ("-object", backend) in options
    assert ("-overcommit", "cpu-pm=on") in options
    assert ("-device", "vfio-pci,host=0000:02:10.1,id=net0") in options
    assert ("-cpu", "host,-kvmclock") in options
    assert not any("tap" in word or "virtio-net" in word for word in argv)
    assert dict(options)["-append"].endswith(" nokaslr")


def test_a_guest_that_leaves_its_hypervisor_has_no_device_but_its_network_card(root: Path) -> None:
    wanted = spec.parse(GOOD | ALONE, root)
    assert spec.kernel(wanted, root) == root / "boot/vmlinuz-6.12.117-nohype"
    given = _resources(tap="", vf="0000:02:10.1", kernel=Path("/boot/vmlinuz-6.12.117-nohype"))
    options = _options(qemu.argv(wanted, given))
    assert [value for key, value in options if key == "-device"] == ["vfio-pci,host=0000:02:10.1,id=net0"]
    backend = "memory-backend-file,id=ram,size=512M,mem-path=/dev/hugepages,share=on,prealloc=on"
    assert [value for key, value in options if key == "-object"] == [backend]
    assert not [key for key, _ in options if key in ("-drive", "-netdev")]
    assert ("-kernel", "/boot/vmlinuz-6.12.117-nohype") in options
    assert ("-initrd", "/var/lib/nohype/guest-images/abc123/initrd-ram.img") in options
    cmdline = dict(options)["-append"]
    assert "root=" not in cmdline
    assert cmdline.startswith("console=ttyS0 net.ifnames=0 ip=10.79.1.10::")


def test_other_guests_run_their_images_kernel(root: Path) -> None:
    assert spec.kernel(spec.parse(GOOD, root), root) == spec.image_folder(spec.parse(GOOD, root), root) / "vmlinuz"


def test_the_hosts_kernel_must_be_there_for_a_guest_that_shares_it(root: Path) -> None:
    (root / "boot/vmlinuz-6.12.117-nohype").unlink()
    with pytest.raises(AgentError, match="own file is missing") as caught:
        spec.parse(GOOD | ALONE, root)
    assert caught.value.where.endswith("boot/vmlinuz-6.12.117-nohype")


def test_without_vhost_net_qemu_moves_the_packets(root: Path) -> None:
    argv = qemu.argv(spec.parse(GOOD, root), _resources(vhost=False))
    assert "tap,id=net0,ifname=nhtap0,script=no,downscript=no,vhost=off" in argv


def test_unit_keeps_qemu_off_the_guests_cores() -> None:
    command = ["qemu-system-x86_64", "-append", "a $b %c"]
    argv = qemu.unit_argv("nohype-guest-g1.service", command, messages=Path("/x/qemu.log"), cpus=(0, 1))
    assert "--property=CPUAffinity=0,1" in argv
    assert "--expand-environment=no" in argv
    assert argv[argv.index("--") + 1 :] == command
    floating = qemu.unit_argv("u", command, messages=Path("/x"), cpus=())
    assert not any("CPUAffinity" in word for word in floating)
