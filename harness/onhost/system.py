"""Small reads of /proc and /sys, and programs run with their errors kept.

Functions that read the machine take `root`, the folder the file system begins at: `/` on a host.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .errors import AgentError

ROOT = Path("/")


def text(path: Path, default: str = "") -> str:
    """The file's content without surrounding blanks; `default` where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return default


def number(path: Path, default: int = 0) -> int:
    """The decimal number in the file; `default` where there is none."""
    try:
        return int(text(path))
    except ValueError:
        return default


def write(path: Path, value: str) -> None:
    """Write to a control file of the kernel. Raises AgentError with the kernel's reason."""
    try:
        path.write_text(value, encoding="ascii")
    except OSError as error:
        raise AgentError(f"cannot write {value!r}: {error.strerror}", where=str(path)) from None


def link_name(path: Path) -> str:
    """The last part of what the symbolic link points to (`igb` for `.../driver`); "" where there is no link."""
    return path.resolve().name if path.is_symlink() else ""


def cpu_list(text: str) -> tuple[int, ...]:
    """CPU numbers of the kernel's list format: `0-1,4` is (0, 1, 4); "" is none."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if first.strip():
            cpus += range(int(first), int(last if dash else first) + 1)
    return tuple(cpus)


def present_cpus(root: Path = ROOT) -> tuple[int, ...]:
    """The machine's cores, those that guests without hypervisor have taken from Linux included."""
    return cpu_list(text(root / "sys/devices/system/cpu/present"))


def online_cpus(root: Path = ROOT) -> tuple[int, ...]:
    """The cores Linux runs on."""
    return cpu_list(text(root / "sys/devices/system/cpu/online"))


def lost_cpus(root: Path = ROOT) -> tuple[int, ...]:
    """The cores that were not confirmed to have left a guest without hypervisor: nobody's until the host reboots."""
    return cpu_list(text(root / "sys/devices/system/cpu/lost"))


def isolated_cpus(root: Path = ROOT) -> tuple[int, ...]:
    """Cores the scheduler keeps tasks off (`isolcpus=domain,...`)."""
    return cpu_list(text(root / "sys/devices/system/cpu/isolated"))


def memory_kib(field: str, root: Path = ROOT) -> int:
    """A field of /proc/meminfo, in KiB."""
    for line in text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    return 0


def cpuinfo(root: Path = ROOT) -> dict[str, str]:
    """The first processor's fields of /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in text(root / "proc/cpuinfo").splitlines():
        if not line.strip():
            break
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    return fields


def run(argv: Sequence[str], *, check: bool = True, seconds: float = 60) -> str:
    """Run a program and return what it printed on stdout.

    Raises AgentError with the program's own message when it fails (not with `check=False`), is missing or hangs.
    """
    import subprocess

    where = " ".join(argv)
    try:
        done = subprocess.run(list(argv), capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        if not check:
            return ""
        raise AgentError(f"program {argv[0]!r} is not installed", where=where, fix="provision the host again") from None
    except subprocess.TimeoutExpired:
        raise AgentError(f"did not end within {seconds:g} s", where=where) from None
    if check and done.returncode != 0:
        message = done.stderr.strip() or done.stdout.strip() or "no message"
        raise AgentError(f"exit status {done.returncode}: {message}", where=where)
    return done.stdout


def on_xen(root: Path = ROOT) -> bool:
    """Whether this Linux is Xen's control domain."""
    return text(root / "sys/hypervisor/type") == "xen" and "control_d" in text(root / "proc/xen/capabilities")


def isa(root: Path = ROOT) -> str:
    """Which virtualization extension the hypervisor uses here: "svm", "vmx", or "" where the CPU offers none."""
    if on_xen(root):  # which hides both from its control domain
        return {"AuthenticAMD": "svm", "GenuineIntel": "vmx"}.get(cpuinfo(root).get("vendor_id", ""), "")
    if (root / "sys/module/kvm_amd").is_dir():
        return "svm"
    if (root / "sys/module/kvm_intel").is_dir():
        return "vmx"
    flags = cpuinfo(root).get("flags", "").split()
    return "svm" if "svm" in flags else "vmx" if "vmx" in flags else ""
