"""Build the rack hosts' disk: a Debian server that boots through its own GRUB, as a lab machine would."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness.steps import Step, silent
from harness.toolbox.cache import cached, digest, is_cached
from harness.toolbox.debian import PLAIN_MODULES, TINY_INITRAMFS, RootRecipe, bootstrap
from harness.toolbox.filesystem import bootable_disk
from harness.toolbox.keys import control_key, public_text
from harness.toolbox.root import toolbox

SIZE = 8 << 30  # bytes, sparse
UUID = "6e6f6879-7065-4861-b573-740000000001"
HOST_USER = "nohype"

# TCG's virtual CPUs have one clock, but the kernel cannot know: without tsc=reliable it falls back to the ACPI timer,
# whose every read is a port access. The security modules are Debian's without BPF's: with that one, systemd reads the
# kernel's whole type information at every boot, which takes an emulated CPU seconds.
RACK_CMDLINE = "console=ttyS0,115200 tsc=reliable no_timer_check lsm=landlock,lockdown,yama,apparmor"

# Modules for devices that the emulated servers do not have, by folder. udev would load some of them at every boot.
_EXCLUDED_MODULES = (
    "arch/x86/crypto", "drivers/ata", "drivers/char/ipmi/ipmi_ssif", "drivers/comedi", "drivers/bluetooth",
    "drivers/firmware", "drivers/gpu", "drivers/i2c/busses", "drivers/iio", "drivers/infiniband", "drivers/input",
    "drivers/isdn",
    "drivers/media", "drivers/mfd", "drivers/net/ethernet/broadcom", "drivers/net/ethernet/chelsio",
    "drivers/net/ethernet/mellanox", "drivers/net/ethernet/qlogic", "drivers/net/usb", "drivers/net/wireless",
    "drivers/platform", "drivers/powercap", "drivers/scsi", "drivers/staging", "drivers/video", "net/wireless", "sound",
)  # fmt: skip
# Rules of udev for such devices: each rule is looked at for each device, at every boot.
_EXCLUDED_RULES = (
    "55-dm", "60-autosuspend", "60-cdrom_id", "60-drm", "60-evdev", "60-fido-id", "60-infiniband", "60-input-id",
    "60-persistent-alsa", "60-persistent-input", "60-persistent-storage-dm", "60-persistent-storage-mtd",
    "60-persistent-storage-tape", "60-persistent-v4l", "60-sensor", "64-btrfs", "70-camera", "70-joystick", "70-memory",
    "70-mouse", "70-power-switch", "70-touchpad", "70-uaccess", "71-seat", "73-seat-late", "75-net-description",
    "75-probe_mtd", "78-sound-card", "90-iocost", "95-dm-notify",
)  # fmt: skip
# What of systemd has nothing to do on such a server. Starting a program takes an emulated CPU a quarter of a second.
_MASKED = (
    *("systemd-networkd-wait-online.service", "systemd-logind.service", "systemd-binfmt.service"),
    *("systemd-hwdb-update.service", "systemd-journal-flush.service", "systemd-network-generator.service"),
    *("systemd-networkd-persistent-storage.service", "systemd-pstore.service", "systemd-random-seed.service"),
    *("systemd-udev-load-credentials.service", "systemd-tmpfiles-setup-dev-early.service"),
    *("modprobe@configfs.service", "modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@fuse.service"),
    *("sys-fs-fuse-connections.mount", "sys-kernel-config.mount"),
    *("proc-sys-fs-binfmt_misc.automount", "systemd-ask-password-console.path", "systemd-ask-password-wall.path"),
    *("systemd-creds.socket", "systemd-hostnamed.socket", "systemd-initctl.socket", "systemd-rfkill.socket"),
    *("systemd-sysext.socket", "systemd-tmpfiles-clean.timer"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "grub-common.service", "getty@tty1.service"),
)
_MASKED_GENERATORS = (
    *("debug", "gpt-auto", "hibernate-resume", "rc-local", "run", "ssh", "system-update", "sysv", "tpm2"),
)
# Debian's unit checks its configuration in a process of its own first, and waits for the network.
_SSH_UNIT = """[Unit]
Description=OpenSSH server

[Service]
ExecStart=/usr/sbin/sshd -D
RuntimeDirectory=sshd
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""

_GRUB_CFG = """\
load_env
set default="${{saved_entry}}"
set timeout=0
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
menuentry "Debian" --id debian {{
  search --no-floppy --fs-uuid --set=root {uuid}
  linux /boot/vmlinuz-{release} root=UUID={uuid} ro {arguments}
  initrd /boot/initrd.img-{release}
}}
if [ -f $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
"""


def recipe() -> RootRecipe:
    """The host image's recipe: a plain Debian server plus the packages the roles ask for.

    What never changes is baked in, so that converging an emulated host does not spend minutes in its package manager.
    """
    return RootRecipe(
        name="host",
        packages=(
            *("linux-image-amd64", "systemd-sysv", "udev", "dbus", "openssh-server", "sudo", "python3"),
            *("tiny-initramfs", "zstd", "kmod", "procps", "pciutils", "ethtool", "iproute2", "iputils-ping"),
            *("grub-pc-bin", "grub2-common", "ca-certificates", "libnss-myhostname", "xz-utils"),
            *("qemu-system-x86", "qemu-utils", "seabios", "ipxe-qemu", "python3-prometheus-client"),
            *("xen-hypervisor-4.20-amd64", "xen-utils-4.20", "xenstore-utils", "qemu-system-xen"),
            *("sysbench", "iperf3", "sockperf"),
        ),
        dpkg_options=(
            *(
                f"path-exclude={base}/modules/*/kernel/{name}*"
                for base in ("/lib", "/usr/lib")
                for name in _EXCLUDED_MODULES
            ),
            *(f"path-exclude=/usr/lib/udev/rules.d/{name}.rules" for name in _EXCLUDED_RULES),
            "path-exclude=/usr/share/locale/*",
        ),
        files=(
            (f"/home/{HOST_USER}/.ssh/authorized_keys", public_text(control_key()) + "\n", 0o600),
            ("/etc/sudoers.d/nohype", f"{HOST_USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440),
            ("/etc/fstab", f"UUID={UUID} / ext4 errors=remount-ro 0 0\n", 0o644),
            ("/etc/machine-id", "", 0o444),
            ("/etc/ssh/sshd_config.d/rack.conf", "PasswordAuthentication no\nUseDNS no\n", 0o644),
            ("/etc/systemd/system/ssh.service", _SSH_UNIT, 0o644),
            ("/etc/systemd/network/10-mgmt.link", "[Match]\nDriver=virtio_net\n[Link]\nName=mgmt0\n", 0o644),
            (
                "/etc/systemd/network/10-mgmt.network",
                "[Match]\nName=mgmt0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n",
                0o644,
            ),
            ("/etc/systemd/network/10-data.link", "[Match]\nDriver=igb\n[Link]\nName=data0\n", 0o644),
            (
                "/etc/default/grub",
                'GRUB_DEFAULT=saved\nGRUB_TIMEOUT=0\nGRUB_TERMINAL="serial"\nGRUB_DISTRIBUTOR=Debian\n'
                'GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"\nGRUB_DISABLE_OS_PROBER=true\n'
                f'GRUB_CMDLINE_LINUX="{RACK_CMDLINE}"\nGRUB_CMDLINE_LINUX_DEFAULT=quiet\n',
                0o644,
            ),
        ),
        commands=(
            ("useradd", "--create-home", "--shell", "/bin/bash", HOST_USER),
            ("chown", "-R", f"{HOST_USER}:", f"/home/{HOST_USER}"),
            ("chmod", "700", f"/home/{HOST_USER}/.ssh"),
            ("sh", "-c", "rm -f /etc/hostname /etc/ssh/ssh_host_*"),
            ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rack-host", "-f", "/etc/ssh/ssh_host_ed25519_key"),
            ("systemctl", "enable", "systemd-networkd.service"),
            ("systemctl", "mask", *_MASKED),
            ("systemctl", "disable", "xen.service", "xendomains.service"),  # role xen enables what it needs
            ("mkdir", "-p", "/etc/systemd/system-generators"),
            *(
                ("ln", "-s", "/dev/null", f"/etc/systemd/system-generators/systemd-{name}-generator")
                for name in _MASKED_GENERATORS
            ),
            *PLAIN_MODULES,
            TINY_INITRAMFS,
            ("touch", "/etc/.updated", "/var/.updated"),  # nothing is left for systemd's first-boot updates
        ),
    )


def build(guest_image: Path, step: Step = silent) -> Path:
    """The host image's folder: disk.raw and manifest.json (`ssh_host_keys`); from the cache or built now.

    `guest_image` is baked in where the role guest_image would put it. Needs root; about a minute and a half.
    """
    made = recipe()
    guest_digest = _guest_digest(guest_image)

    def fill(folder: Path) -> None:
        root = folder / "root"
        root.mkdir()
        with step("host image: Debian root"):
            bootstrap(made, root)
        with step("host image: disk with GRUB"):
            baked = root / "var/lib/nohype/guest-images" / guest_digest
            baked.parent.mkdir(parents=True)
            shutil.copytree(guest_image, baked)
            _disk(root, folder)
            shutil.rmtree(root)

    return cached("host-image", _key(made, guest_digest), fill)


def ready(guest_image: Path) -> bool:
    """Whether `build` would return at once."""
    return is_cached("host-image", _key(recipe(), _guest_digest(guest_image)))


def _key(made: RootRecipe, guest_digest: str) -> str:
    return digest([made.digest, guest_digest])


def _guest_digest(guest_image: Path) -> str:
    return str(json.loads((guest_image / "manifest.json").read_text(encoding="utf-8"))["digest"])


def _disk(root: Path, folder: Path) -> None:
    release = next((root / "lib/modules").iterdir()).name
    grub = root / "boot/grub"
    shutil.copytree(root / "usr/lib/grub/i386-pc", grub / "i386-pc")
    menu = _GRUB_CFG.format(uuid=UUID, release=release, arguments=f"{RACK_CMDLINE} quiet")
    (grub / "grub.cfg").write_text(menu, encoding="utf-8")
    # An empty GRUB environment block: the magic line, padded with '#' to 1024 bytes (grub-core/lib/envblk.c).
    (grub / "grubenv").write_text("# GRUB Environment Block\n".ljust(1024, "#"), encoding="ascii")
    bootable_disk(toolbox(), root, folder / "disk.raw", size=SIZE, uuid=UUID)
    host_key = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="utf-8").strip()
    manifest = {"kernel_release": release, "ssh_host_keys": [host_key]}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
