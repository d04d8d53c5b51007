"""Make disk images from folders, with the toolbox's programs and without loop devices or mounts."""

from __future__ import annotations

from pathlib import Path

from harness.toolbox.root import Toolbox

SECTOR = 512
PARTITION_START = 2048 * SECTOR  # 1 MiB: the usual alignment; GRUB's core image fits in the gap before it


def sparse(path: Path, size: int) -> None:
    """Make `path` a file of `size` bytes that occupies none."""
    with path.open("wb") as handle:
        handle.truncate(size)


def ext4(tools: Toolbox, folder: Path, image: Path, *, size: int, uuid: str, offset: int = 0) -> None:
    """Write an ext4 filesystem of `size` bytes holding `folder`'s files at byte `offset` of `image`."""
    tools.run(
        [
            "mke2fs",
            *("-q", "-t", "ext4", "-U", uuid, "-d", str(folder)),
            *("-E", f"offset={offset},lazy_itable_init=1"),
            *(str(image), f"{size // 1024}k"),
        ],
        binds=[folder, image.parent],
    )


def bootable_disk(tools: Toolbox, folder: Path, disk: Path, *, size: int, uuid: str) -> None:
    """Write a BIOS disk: MBR with GRUB, one ext4 partition holding `folder`'s files.

    GRUB's boot sector looks for its core image in sector 1 and the core image for its rest in sector 2 as they are
    built (grub-core/boot/i386/pc/{boot,diskboot}.S), so laying them down is two copies; grub-install would need a
    loop device.
    """
    sparse(disk, size)
    table = disk.parent / "table"
    table.write_text(f"label: dos\nstart={PARTITION_START // SECTOR}, type=83, bootable\n", encoding="utf-8")
    tools.run(["sh", "-c", 'sfdisk -q "$1" < "$2"', "sh", str(disk), str(table)], binds=[disk.parent])
    table.unlink()
    ext4(tools, folder, disk, size=size - PARTITION_START, uuid=uuid, offset=PARTITION_START)
    core = disk.parent / "core.img"
    tools.run(
        [
            *("grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-o", str(core)),
            *("biosdisk", "part_msdos", "ext2"),
        ],
        binds=[disk.parent],
    )
    boot = (tools.root / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    with disk.open("r+b") as handle:
        handle.write(boot[:440])  # the rest of the sector is the partition table
        handle.seek(SECTOR)
        handle.write(core.read_bytes())
    core.unlink()
