"""What `guest create` reads from stdin, checked before anything is touched."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import NamedTuple

from . import xen_info
from .errors import AgentError
from .nohype import POLICIES
from .system import ROOT, lost_cpus, on_xen, online_cpus, text

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_STACK = re.compile(r"[a-z0-9][a-z0-9-]*")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # a folder's name, never a path
_CPU_FLAGS = re.compile(r"(,[+-]?[a-z0-9_.-]+(=[A-Za-z0-9_.-]+)?)*")
XEN_KINDS = ("hvm", "pvh")  # xl.cfg(5): type
DISENGAGE_SECONDS = 3600.0
KINDS = ("kvm", "bare", *XEN_KINDS)
IMAGE_FILES = ("vmlinuz", "initrd.img", "rootfs.qcow2", "initrd-ram.img", "manifest.json")


class Spec(NamedTuple):
    """The wanted guest; the keys of harness.guests.model.GuestSpec."""

    name: str
    stack: str
    vcpus: int
    memory_mib: int
    image: str
    nic: str
    cpus: tuple[int, ...] = ()
    hugepages: bool = False
    idle_in_guest: bool = False
    extra_cmdline: str = ""
    cpu_flags: str = ""
    disengage: bool = False
    kind: str = "kvm"
    icr: str = ""
    disengage_seconds: float = 0

    @property
    def on_xen(self) -> bool:
        return self.kind in XEN_KINDS


def parse(document: object, root: Path = ROOT) -> Spec:
    """The spec in `document`, or AgentError naming the key that is wrong and what it may be."""
    if not isinstance(document, dict):
        raise _wrong("", "must be one JSON object with the keys of a guest spec")
    unknown = sorted(set(document) - set(Spec._fields))
    if unknown:
        near = difflib.get_close_matches(unknown[0], Spec._fields, n=1)
        raise _wrong(unknown[0], "unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))
    for key in Spec._fields:
        if key not in document and key not in Spec._field_defaults:
            raise _wrong(key, "this key is required")
    spec = Spec(
        name=_text(document, "name"),
        stack=_text(document, "stack"),
        vcpus=_whole(document, "vcpus"),
        memory_mib=_whole(document, "memory_mib"),
        image=_text(document, "image"),
        nic=_text(document, "nic"),
        cpus=_cpus(document.get("cpus", ())),
        hugepages=_flag(document, "hugepages"),
        idle_in_guest=_flag(document, "idle_in_guest"),
        extra_cmdline=_text(document, "extra_cmdline"),
        cpu_flags=_text(document, "cpu_flags"),
        disengage=_flag(document, "disengage"),
        kind=_text(document, "kind") or "kvm",
        icr=_text(document, "icr"),
        disengage_seconds=_seconds(document, "disengage_seconds"),
    )
    _check(spec, root)
    return spec


def image_folder(spec: Spec, root: Path = ROOT) -> Path:
    return root / "var/lib/nohype/guest-images" / spec.image


def kernel(spec: Spec, root: Path = ROOT) -> Path:
    """The image's; for a guest that leaves its hypervisor the very kernel this host runs, which is made for both."""
    if spec.disengage:
        return root / "boot" / f"vmlinuz-{text(root / 'proc/sys/kernel/osrelease')}"
    return image_folder(spec, root) / "vmlinuz"


def _check(spec: Spec, root: Path) -> None:
    if not _NAME.fullmatch(spec.name):
        raise _wrong("name", f"{spec.name!r}: 1 to 40 of a-z, 0-9 and '-', not beginning with '-'")
    if not _STACK.fullmatch(spec.stack):
        raise _wrong("stack", f"{spec.stack!r}: a-z, 0-9 and '-' only")
    if spec.kind not in KINDS:
        raise _wrong("kind", f"{spec.kind!r}: one of {', '.join(KINDS)}")
    if spec.on_xen != on_xen(root):
        running = "Xen" if on_xen(root) else "KVM"
        raise _wrong("kind", f"{spec.kind!r}: this host runs {running}")
    if spec.kind == "bare" and (spec.nic != "vf" or not spec.cpus):
        raise _wrong("kind", "'bare': needs a virtual function and a core")
    if spec.kind == "pvh" and spec.nic == "vf":
        raise _wrong("nic", "'vf': Xen gives PCI functions to HVM guests, not to PVH ones")
    # Xen's control domain sees its own vCPUs, not the machine's cores; Xen itself refuses what is not there.
    online = tuple(range(xen_info.info().cores)) if spec.on_xen else online_cpus(root)
    if not 1 <= spec.vcpus <= len(online):
        raise _wrong("vcpus", f"{spec.vcpus}: this host has {len(online)} cores online, so 1 to {len(online)}")
    if spec.memory_mib < 64:
        raise _wrong("memory_mib", f"{spec.memory_mib}: a Linux guest needs at least 64 MiB")
    if spec.hugepages and spec.memory_mib % 2:
        raise _wrong("memory_mib", f"{spec.memory_mib}: must be even with 2 MiB hugepages")
    if spec.nic not in ("bridge", "vf"):
        raise _wrong("nic", f"{spec.nic!r}: 'bridge' or 'vf'")
    if spec.cpus:
        if len(spec.cpus) != spec.vcpus:
            raise _wrong("cpus", f"{len(spec.cpus)} cores for {spec.vcpus} vCPUs: one core for each, or none at all")
        if len(set(spec.cpus)) != len(spec.cpus):
            raise _wrong("cpus", f"{list(spec.cpus)}: a core is named twice")
        lost = sorted(set(spec.cpus) & set(lost_cpus(root)))
        if lost:
            message = f"cores {lost} are lost: they were not confirmed to have left an earlier guest"
            raise AgentError(message, where="guest spec: cpus", fix="reboot the host")
        absent = sorted(set(spec.cpus) - set(online))
        if absent:
            raise _wrong("cpus", f"cores {absent} are not online; online: {', '.join(map(str, online))}")
        if set(spec.cpus) >= set(online):
            raise _wrong("cpus", "no core is left for the host itself")
    if spec.disengage:
        _check_disengage(spec, root)
    elif spec.icr or spec.disengage_seconds:
        raise _wrong("icr" if spec.icr else "disengage_seconds", "only for a guest that disengages")
    if not _CPU_FLAGS.fullmatch(spec.cpu_flags):
        raise _wrong("cpu_flags", f"{spec.cpu_flags!r}: QEMU flags, each with its comma, such as ',-kvmclock'")
    if not spec.extra_cmdline.isprintable() or not spec.extra_cmdline.isascii():
        raise _wrong("extra_cmdline", "one line of printable ASCII")
    if not _IMAGE.fullmatch(spec.image):
        raise _wrong("image", f"{spec.image!r}: the digest of a guest image")
    folder = image_folder(spec, root)
    missing = [name for name in IMAGE_FILES if not (folder / name).is_file()]
    if missing:
        there = sorted(path.name for path in folder.parent.glob("*") if path.is_dir())
        raise AgentError(
            f"guest image {spec.image} is not on this host: no {', '.join(missing)} "
            f"(images here: {', '.join(there) or 'none'})",
            where=str(folder),
            fix=f"provision the host with this image: nohype provision --stack {spec.stack}",
        )


def _check_disengage(spec: Spec, root: Path) -> None:
    """What a guest without hypervisor needs for itself: cores, memory and a network card."""
    if not spec.cpus:
        raise _wrong("cpus", "a guest that disengages needs a core of its own for each vCPU")
    if 0 in spec.cpus:
        raise _wrong("cpus", "core 0 cannot be taken from Linux, so no guest that disengages can have it")
    if not spec.hugepages:
        raise _wrong("hugepages", "must be true for a guest that disengages: all of its memory is there beforehand")
    if spec.nic != "vf":
        raise _wrong("nic", "must be 'vf' for a guest that disengages: virtio needs a hypervisor")
    if spec.icr not in POLICIES:
        raise _wrong("icr", f"{spec.icr!r}: {' or '.join(map(repr, POLICIES))} for a guest that disengages")
    if spec.vcpus > 1 and spec.icr != "open":
        raise _wrong("icr", "must be 'open' for a guest with several vCPUs that disengages: they interrupt each other")
    if not 0 < spec.disengage_seconds <= DISENGAGE_SECONDS:
        most = f"more than 0, at most {DISENGAGE_SECONDS:g} for a guest that disengages"
        raise _wrong("disengage_seconds", f"{spec.disengage_seconds:g}: {most}")
    if not kernel(spec, root).is_file():
        raise AgentError(
            "the running kernel's own file is missing; a guest that disengages is booted from it",
            where=str(kernel(spec, root)),
            fix="provision the host again: nohype provision --stack nohype",
        )


def _text(document: dict[str, object], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise _wrong(key, f"must be text, not {value!r}")
    return value


def _whole(document: dict[str, object], key: str) -> int:
    value = document[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(key, f"must be a whole number, not {value!r}")
    return value


def _seconds(document: dict[str, object], key: str) -> float:
    value = document.get(key, 0)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(key, f"must be a number of seconds, not {value!r}")
    return value


def _flag(document: dict[str, object], key: str) -> bool:
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(key, f"must be true or false, not {value!r}")
    return value


def _cpus(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or any(not isinstance(n, int) or isinstance(n, bool) for n in value):
        raise _wrong("cpus", f"must be a list of core numbers, not {value!r}")
    return tuple(value)


def _wrong(key: str, message: str) -> AgentError:
    return AgentError(message, where=f"guest spec: {key}" if key else "guest spec")
