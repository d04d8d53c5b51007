"""Build the guest image: a small Debian with sshd and the workloads' programs, booted by direct kernel boot."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from harness.paths import repo_root
from harness.steps import Step, silent
from harness.toolbox.cache import cached, digest
from harness.toolbox.debian import PLAIN_MODULES, TINY_INITRAMFS, RootRecipe, bootstrap, installed_packages
from harness.toolbox.filesystem import ext4, sparse
from harness.toolbox.keys import control_key, public_text
from harness.toolbox.root import toolbox

SIZE = 1 << 30  # bytes; sparse, about a third of it is used
UUID = "6e6f6879-7065-4775-a573-740000000001"

# Drivers of devices no guest has. Leaving them out halves the image; what a VF or virtio needs stays.
_EXCLUDED_DRIVERS = (
    "accel", "ata", "bluetooth", "comedi", "firewire", "gpu", "hid", "hwmon", "iio", "infiniband", "input", "isdn",
    "leds", "md", "media", "memstick", "mfd", "misc", "mmc", "mtd", "net/can", "net/ethernet/broadcom",
    "net/ethernet/chelsio", "net/ethernet/qlogic", "net/ethernet/sfc", "net/phy", "net/usb", "net/wireless",
    "net/wwan", "nvdimm", "parport", "pcmcia", "platform", "power", "scsi", "soundwire", "spi", "staging",
    "target", "thunderbolt", "usb", "video", "w1",
)  # fmt: skip

_KEYGEN = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C")

# What a guest does from its kernel's last message to sshd. systemd and udev take a minute for it where the CPU is
# emulated twice over, and would go on working beside every workload.
_BOOT = """\
#!/bin/sh
# Make a guest reachable. Its address comes on the kernel's command line: ip=ADDRESS::GATEWAY:MASK:NAME:eth0:none
# It may have left its hypervisor already: nothing here may touch a device other than the network card.
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmp /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755 run /run
mount -t tmpfs -o nosuid,nodev tmp /tmp
mkdir -p /run/sshd /run/lock
for device in /sys/bus/pci/devices/*; do
  case $(cat "$device/class") in 0x02*) modprobe -abq "$(cat "$device/modalias")" ;; esac
done
modprobe -abq $(cat /sys/bus/virtio/devices/*/modalias /sys/bus/xen/devices/*/modalias 2>/dev/null)
for word in $(cat /proc/cmdline); do
  case $word in ip=*) network=${word#ip=} ;; esac
done
ip link set lo up
IFS=: read -r address _ gateway mask name interface _ <<EOF
${network:-}
EOF
hostname "${name:-guest}"
if [ -n "$interface" ]; then
  ip address replace "$address/$mask" dev "$interface"
  ip link set "$interface" up
  [ -z "$gateway" ] || ip route replace default via "$gateway"
fi
"""

# The init of the initramfs that holds the whole root, for guests without any disk.
_RAM_INIT = """\
#!/bin/busybox sh
# The tree of the image's disk lies compressed in memory; what changes goes to a tmpfs over it.
set -e
busybox=/bin/busybox
$busybox mount -t devtmpfs dev /dev
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
case $($busybox cat /sys/kernel/nohype/disengage 2>/dev/null) in
  '' | unavailable) ;;
  *)
    # To close the serial line, or to open a terminal, is to touch a device: the one is done now, the other never.
    exec </dev/null >/dev/null 2>&1
    $busybox rm -f /dev/tty0
    $busybox sh /leave || :
    ;;
esac
$busybox mount -t squashfs -o loop,ro /root.squashfs /lower
$busybox mount -t tmpfs -o mode=755 changes /changes
$busybox mkdir /changes/upper /changes/work
$busybox mount -t overlay -o lowerdir=/lower,upperdir=/changes/upper,workdir=/changes/work root /whole
for folder in dev proc sys; do
  $busybox mount --move "/$folder" "/whole/$folder"
done
# Where sysvinit writes its messages, and what its children have for a terminal: never the serial line, which a guest
# without hypervisor must not touch.
export CONSOLE=/dev/null
exec $busybox switch_root /whole /sbin/init
"""
# Before any program of the guest's own runs, and before it has an address.
LEAVE = """\
#!/bin/busybox sh
# Leave the hypervisor: sh leave [ROOT]. From then on, whatever touches a device other than the network card ends the
# guest. Messages go by the kernel's log: they are on the serial line when the writing returns, a terminal's would come
# later.
root=${1:-}
busybox=${BUSYBOX:-/bin/busybox}
disengage=$root/sys/kernel/nohype/disengage
ipv6=$root/proc/sys/net/ipv6/conf/all/disable_ipv6
say() {
  echo "<3>ram-init: $1" >>"$root/dev/kmsg"
}
# A card's driver makes its interrupts when the interface goes up, and the host must see that. Without an address, and
# without IPv6, which would send packets of its own accord.
[ ! -e "$ipv6" ] || echo 1 >"$ipv6"
for interface in "$root"/sys/class/net/*; do
  [ "$($busybox cat "$interface/type" 2>/dev/null)" = 1 ] || continue # 1 is Ethernet
  $busybox ip link set "${interface##*/}" up
done
say "leaves its hypervisor; nothing more will be said here"
for try in 1 2 3; do
  if reason=$( (echo 1 >"$disengage") 2>&1); then
    left=yes
    break
  fi
  case $reason in
    *"temporarily unavailable"*) $busybox sleep 1 ;; # EAGAIN: not all of its CPUs are up
    *) break ;;
  esac
done
[ ! -e "$ipv6" ] || echo 0 >"$ipv6"
[ "${left:-}" ] || say "carries on with its hypervisor, for it could not leave it: $reason"
"""

_RAM_INIT_PATH, _LEAVE_PATH = "/usr/local/lib/nohype/ram-init", "/usr/local/lib/nohype/leave"
_RAM_FOLDERS = ("bin", "dev", "proc", "sys", "lower", "changes", "whole")

# The workloads' own programs are C without a library, compiled where they will run; the compiler leaves again.
_PROGRAMS = ("exits",)
_COMPILER = "tcc"

_INITTAB = """\
id:2:initdefault:
si::sysinit:/usr/local/sbin/guest-boot
s:2:respawn:/usr/sbin/sshd -D
l0:0:wait:/sbin/halt -f -p
l6:6:wait:/sbin/reboot -f
ca::ctrlaltdel:/sbin/reboot -f
"""


def recipe() -> RootRecipe:
    """The guest image's recipe. The control node's public key is part of it, so a new key means a new image."""
    sources = {name: f"/usr/local/src/{name}.c" for name in _PROGRAMS}
    return RootRecipe(
        name="guest",
        packages=(
            *("linux-image-amd64", "tiny-initramfs", "sysvinit-core", "openssh-server", "iproute2", "iputils-ping"),
            *("kmod", "procps", "xz-utils", "busybox-static", "sysbench", "iperf3", "sockperf"),
            _COMPILER,
        ),
        dpkg_options=(
            *(f"path-exclude=/lib/modules/*/kernel/drivers/{name}/*" for name in _EXCLUDED_DRIVERS),
            *(f"path-exclude=/usr/lib/modules/*/kernel/drivers/{name}/*" for name in _EXCLUDED_DRIVERS),
            *(f"path-exclude={base}/modules/*/kernel/sound/*" for base in ("/lib", "/usr/lib")),
            "path-exclude=/usr/share/locale/*",
        ),
        files=(
            ("/root/.ssh/authorized_keys", public_text(control_key()) + "\n", 0o600),
            ("/etc/fstab", "/dev/vda / ext4 defaults 0 0\n", 0o644),
            ("/etc/inittab", _INITTAB, 0o644),
            ("/usr/local/sbin/guest-boot", _BOOT, 0o755),
            (_RAM_INIT_PATH, _RAM_INIT, 0o755),
            (_LEAVE_PATH, LEAVE, 0o755),
            ("/etc/ssh/sshd_config.d/guest.conf", "PasswordAuthentication no\nUseDNS no\n", 0o644),
            *((source, _program(name), 0o644) for name, source in sources.items()),
        ),
        commands=(
            ("sh", "-c", "rm -f /etc/hostname /etc/ssh/ssh_host_*"),
            (*_KEYGEN, "nohype-guest", "-f", "/etc/ssh/ssh_host_ed25519_key"),
            *PLAIN_MODULES,
            TINY_INITRAMFS,
            *(
                (_COMPILER, "-nostdlib", "-static", "-Wall", "-Werror", "-o", f"/usr/local/bin/{name}", source)
                for name, source in sources.items()
            ),
            ("dpkg", "--purge", _COMPILER),
        ),
    )


def _program(name: str) -> str:
    return (repo_root() / "workloads" / "programs" / f"{name}.c").read_text(encoding="utf-8")


def build(step: Step = silent) -> Path:
    """The guest image's folder, from the cache or built now: harness.guests.image.GuestImage tells what is in it.

    Needs root; about two minutes when it is not cached.
    """
    made = recipe()

    def fill(folder: Path) -> None:
        root = folder / "root"
        with step("guest image: Debian root"):
            root.mkdir()
            bootstrap(made, root)
        with step("guest image: disk"):
            _image(made, root, folder)
        with step("guest image: root for guests without disk"):
            _ram_root(root, folder)
            shutil.rmtree(root)

    return cached("guest-image", made.digest, fill)


def _image(made: RootRecipe, root: Path, folder: Path) -> None:
    tools = toolbox()
    release = next((root / "lib/modules").iterdir()).name
    shutil.copyfile(root / f"boot/vmlinuz-{release}", folder / "vmlinuz")
    shutil.copyfile(root / f"boot/initrd.img-{release}", folder / "initrd.img")
    for left_over in [*(root / "boot").iterdir(), *(root / "var/cache/apt").glob("*.bin")]:
        if left_over.is_file():
            left_over.unlink()
    raw = folder / "rootfs.raw"
    sparse(raw, SIZE)
    ext4(tools, root, raw, size=SIZE, uuid=UUID)
    target = folder / "rootfs.qcow2"
    tools.run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(target)], binds=[folder])
    raw.unlink()
    host_key = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="utf-8").strip()
    packages = installed_packages(root)
    manifest = {
        # Two control nodes make different host keys from one recipe; the digest tells their images apart.
        "digest": digest([asdict(made), host_key, packages]),
        "kernel_release": release,
        "ssh_host_keys": [host_key],
        "packages": packages,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _ram_root(root: Path, folder: Path) -> None:
    """Write initrd-ram.img: an initramfs that holds the root as a squashfs and boots from it.

    Without modules: the kernel of such a guest is its host's, which has all built in.
    """
    tools = toolbox()
    tree = folder / "ram"
    for name in _RAM_FOLDERS:
        (tree / name).mkdir(parents=True)
    shutil.copy(root / "usr/bin/busybox", tree / "bin/busybox")
    shutil.copy(root / _RAM_INIT_PATH.lstrip("/"), tree / "init")
    shutil.copy(root / _LEAVE_PATH.lstrip("/"), tree / "leave")
    squash = ["mksquashfs", str(root), str(tree / "root.squashfs"), "-quiet", "-no-progress", "-no-xattrs"]
    tools.run([*squash, "-comp", "zstd", "-wildcards", "-e", "usr/lib/modules/*"], binds=[folder])
    pack = 'cd "$1" && find . | sort | cpio --quiet --create --format=newc --owner=0:0 --reproducible >"$2"'
    tools.run(["sh", "-c", pack, "sh", str(tree), str(folder / "initrd-ram.img")], binds=[folder])
    shutil.rmtree(tree)
