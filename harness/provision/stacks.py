"""Provision hosts for a stack: install what it needs, its boot entry included (`activate` boots into it)."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.config import nearest
from harness.errors import InputError, UnavailableError
from harness.hosts.model import Host
from harness.paths import repo_root
from harness.provision import agent_bundle
from harness.provision.model import OnEvent, PlaybookResult
from harness.provision.runner import run_playbook

if TYPE_CHECKING:
    from harness.hosts.ssh import HostSession

# Playbook of each stack, in playbooks/.
STACK_PLAYBOOKS: Mapping[str, str] = {
    "kvm": "stack_kvm.yml",
    "kvm-tuned": "stack_kvm_tuned.yml",
    "nohype": "stack_nohype.yml",
    "xen": "stack_xen.yml",
    "xen-pvh": "stack_xen_pvh.yml",
    "xen-tuned": "stack_xen_tuned.yml",
    "bare": "stack_bare.yml",
}
KERNEL_FIX = "build it: nohype kernel build"
# Stacks that boot a kernel of their own, which the control node builds.
_KERNEL_STACKS = frozenset({"nohype"})
# What the playbooks take from a host's inventory. Others (BMC, fidelity) change nothing on the host.
_VARIABLES = (
    "nohype_bridge_address",
    "nohype_data_address",
    "nohype_data_pf",
    "nohype_dom0_memory_mib",
    "nohype_exporter_listen",
    "nohype_exporter_port",
    "nohype_exporter_web",
    "nohype_extra_cmdline",
    "nohype_extra_xen_cmdline",
    "nohype_hugepages_2m",
    "nohype_isolated_cores",
    "nohype_kernel_release",
    "nohype_vfs",
)


class Image(Protocol):
    """The guest image, as far as hosts are concerned (harness.guests.image.GuestImage)."""

    @property
    def digest(self) -> str: ...

    @property
    def folder(self) -> Path: ...


class Kernel(Protocol):
    """The NoHype kernel, as far as hosts are concerned (harness.kernel.image.KernelImage)."""

    @property
    def digest(self) -> str: ...

    @property
    def folder(self) -> Path: ...

    @property
    def release(self) -> str: ...


def needs_kernel(stack: str) -> bool:
    """Whether hosts of `stack` boot the NoHype kernel."""
    return stack in _KERNEL_STACKS


def gets_kernel(stack: str, host: Host) -> bool:
    """Whether `host` is brought the control node's NoHype kernel for `stack`: it may have one from packages."""
    return needs_kernel(stack) and not host.variables.get("nohype_kernel_release")


def digest(stack: str, image_digest: str, host: Host, *, kernel_digest: str = "", playbooks: Path | None = None) -> str:
    """What a provisioned host is made of, as one hash.

    That is playbooks, nohype-host, guest image, the host's variables, and the kernel that the host is brought.
    """
    folder = playbooks or repo_root() / "playbooks"
    check(stack)
    summary = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        summary.update(f"\0{path.relative_to(folder).as_posix()}\0".encode())
        summary.update(path.read_bytes())
    variables = {key: host.variables.get(key) for key in _VARIABLES}
    kernel = [kernel_digest] if gets_kernel(stack, host) else []
    rest = [stack, image_digest, agent_bundle.digest(), variables, *kernel]
    summary.update(json.dumps(rest, sort_keys=True).encode())
    return summary.hexdigest()[:16]


def provision(
    stack: str,
    hosts: Sequence[Host],
    *,
    inventory: Path,
    image: Image,
    kernel: Kernel | None,
    artifacts: Path,
    on_event: OnEvent,
    cancelled: Callable[[], bool] = lambda: False,
) -> PlaybookResult:
    """Install on `hosts` what `stack` needs, its boot entry, `image`, and `kernel` where a host gets that.

    Nothing is rebooted, and nothing is changed where all is there already. Raises InputError for an unknown stack,
    UnavailableError where a host gets a kernel and there is none, else as `run_playbook`.
    """
    playbook = _playbook(stack)
    variables: dict[str, object] = {"nohype_image": {"digest": image.digest, "folder": str(image.folder)}}
    kernel_digest = kernel.digest if kernel else ""
    if needs_kernel(stack):
        if kernel is None and any(gets_kernel(stack, host) for host in hosts):
            raise UnavailableError(f"stack {stack} boots the NoHype kernel, and there is none", fix=KERNEL_FIX)
        variables["nohype_kernel"] = {  # empty where all hosts have one from packages
            "digest": kernel_digest,
            "folder": str(kernel.folder) if kernel else "",
            "release": kernel.release if kernel else "",
        }
    with tempfile.TemporaryDirectory(prefix="nohype-bundle-") as folder:
        bundle = agent_bundle.build(Path(folder, "nohype-host"))
        return run_playbook(
            playbook,
            inventory=inventory,
            limit=",".join(host.name for host in hosts),
            extra_vars={
                **variables,
                "nohype_agent_bundle": str(bundle),
                "nohype_digests": {
                    host.name: digest(stack, image.digest, host, kernel_digest=kernel_digest) for host in hosts
                },
            },
            artifacts=artifacts,
            on_event=on_event,
            cancelled=cancelled,
        )


def is_provisioned(session: HostSession, stack: str, digest: str) -> bool:
    """Whether the host's own record says it was provisioned for `stack` from just what `digest` stands for."""
    check(stack)
    found = session.run(["cat", f"/etc/nohype/provisioned/{stack}.json"], check=False)
    if found.exit_code != 0:
        return False
    try:
        record = json.loads(found.stdout)
    except ValueError:
        return False
    return isinstance(record, dict) and record.get("digest") == digest


def check(stack: str) -> None:
    """Raises InputError with the nearest right name when there is no playbook for `stack`."""
    if stack not in STACK_PLAYBOOKS:
        known = ", ".join(STACK_PLAYBOOKS)
        raise InputError(f"unknown stack {stack!r}{nearest(stack, STACK_PLAYBOOKS)}", fix=f"known stacks: {known}")


def _playbook(stack: str) -> Path:
    check(stack)
    return repo_root() / "playbooks" / STACK_PLAYBOOKS[stack]
