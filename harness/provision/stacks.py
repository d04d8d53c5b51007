"""Provision hosts for stacks: install what they need, boot entries included (`activate` boots into one)."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
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

PLAYBOOK = "stacks.yml"
KERNEL_FIX = "build it: nohype kernel build"


@dataclass(frozen=True)
class StackNeeds:
    """What a stack needs beside what every host gets. The playbook takes these fields as they are."""

    name: str
    kernel: bool = False  # its hosts boot the NoHype kernel, which the control node builds
    isolation: bool = False  # its hosts set cores and hugepages aside for guests when they boot
    functions: bool = False  # its guests get SR-IOV virtual functions
    xen: bool = False  # its hosts boot Xen
    pinned: bool = False  # Xen's control domain stays on its own cores


STACKS: Mapping[str, StackNeeds] = {
    needs.name: needs
    for needs in (
        StackNeeds("kvm"),
        StackNeeds("kvm-tuned", isolation=True, functions=True),
        StackNeeds("nohype", kernel=True, isolation=True, functions=True),
        StackNeeds("xen", xen=True),
        StackNeeds("xen-pvh", xen=True),
        StackNeeds("xen-tuned", functions=True, xen=True, pinned=True),
        StackNeeds("bare", isolation=True, functions=True),
    )
}
# What the playbook takes from a host's inventory. Others (BMC, fidelity) change nothing on the host.
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
    return stack in STACKS and STACKS[stack].kernel


def gets_kernel(stack: str, host: Host) -> bool:
    """Whether `host` is brought the control node's NoHype kernel for `stack`: it may have one from packages."""
    return needs_kernel(stack) and not host.variables.get("nohype_kernel_release")


def digest(stack: str, image_digest: str, host: Host, *, kernel_digest: str = "", playbooks: Path | None = None) -> str:
    """What a provisioned host is made of, as one hash.

    That is playbooks, the stacks' needs, nohype-host, guest image, the host's variables, and the kernel that the host
    is brought. It is the same whichever other stacks are provisioned together with this one.
    """
    folder = playbooks or repo_root() / "playbooks"
    check(stack)
    summary = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        summary.update(f"\0{path.relative_to(folder).as_posix()}\0".encode())
        summary.update(path.read_bytes())
    inventory = {key: host.variables.get(key) for key in _VARIABLES}
    kernel = [kernel_digest] if gets_kernel(stack, host) else []
    every = [asdict(needs) for needs in STACKS.values()]
    rest = [stack, every, image_digest, agent_bundle.digest(), inventory, *kernel]
    summary.update(json.dumps(rest, sort_keys=True).encode())
    return summary.hexdigest()[:16]


def provision(
    stacks: Collection[str],
    hosts: Sequence[Host],
    *,
    inventory: Path,
    image: Image,
    kernel: Kernel | None,
    artifacts: Path,
    on_event: OnEvent,
    cancelled: Callable[[], bool] = lambda: False,
) -> PlaybookResult:
    """Install on `hosts` what `stacks` need, `image`, and `kernel` where a host gets it, all in one run of Ansible.

    Nothing is rebooted, and nothing is changed where all is there already. Where a host lacks what one of the stacks
    needs, nothing new is recorded on it for the others either.

    Raises InputError for an unknown stack, UnavailableError where a host gets a kernel and there is none, else
    as `run_playbook`.
    """
    with tempfile.TemporaryDirectory(prefix="nohype-bundle-") as folder:
        bundle = agent_bundle.build(Path(folder, "nohype-host"))
        return run_playbook(
            repo_root() / "playbooks" / PLAYBOOK,
            inventory=inventory,
            limit=",".join(host.name for host in hosts),
            extra_vars=variables(stacks, hosts, image=image, kernel=kernel, bundle=bundle),
            artifacts=artifacts,
            on_event=on_event,
            cancelled=cancelled,
        )


def variables(
    stacks: Collection[str], hosts: Sequence[Host], *, image: Image, kernel: Kernel | None, bundle: Path
) -> dict[str, object]:
    """What the playbook is given to provision `hosts` for `stacks`. Raises InputError and UnavailableError."""
    for stack in stacks:
        check(stack)
    wanted = [needs for needs in STACKS.values() if needs.name in stacks]  # in this order, however they were named
    kernel_digest = kernel.digest if kernel else ""
    given: dict[str, object] = {
        "nohype_stacks": [asdict(needs) for needs in wanted],
        # All of them: what a host does for stacks with functions does not depend on which ones are provisioned.
        "nohype_vf_stacks": [needs.name for needs in STACKS.values() if needs.functions],
        "nohype_agent_bundle": str(bundle),
        "nohype_image": {"digest": image.digest, "folder": str(image.folder)},
        "nohype_records": {
            host.name: {
                _record(needs.name): _recorded(digest(needs.name, image.digest, host, kernel_digest=kernel_digest))
                for needs in wanted
            }
            for host in hosts
        },
    }
    of_kernel = [needs.name for needs in wanted if needs.kernel]
    if not of_kernel:
        return given
    if kernel is None and any(gets_kernel(stack, host) for stack in of_kernel for host in hosts):
        raise UnavailableError(f"stack {of_kernel[0]} boots the NoHype kernel, and there is none", fix=KERNEL_FIX)
    nohype_kernel = {  # empty where all hosts have one from packages
        "digest": kernel_digest,
        "folder": str(kernel.folder) if kernel else "",
        "release": kernel.release if kernel else "",
    }
    return given | {"nohype_kernel": nohype_kernel}


def unprovisioned(session: HostSession, digests: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the stacks, given with their digests, for which the host's own records do not hold just that digest.

    It takes one command on the host. Raises InputError for an unknown stack, and as `HostSession.run`.
    """
    for stack in digests:
        check(stack)
    paths = {_record(stack): stack for stack in digests}
    found = session.run(["grep", "--no-messages", "--with-filename", "", "--", *paths], check=False)
    right = set()
    for line in found.stdout.splitlines():
        path, _, record = line.partition(":")
        if path in paths and f"{record}\n" == _recorded(digests[paths[path]]):
            right.add(paths[path])
    return tuple(stack for stack in digests if stack not in right)


def check(stack: str) -> None:
    """Raises InputError with the nearest right name when `stack` is not known."""
    if stack not in STACKS:
        raise InputError(f"unknown stack {stack!r}{nearest(stack, STACKS)}", fix=f"known stacks: {', '.join(STACKS)}")


def _record(stack: str) -> str:
    """Where a host says what it was provisioned with for the stack."""
    return f"/etc/nohype/provisioned/{stack}.json"


def _recorded(digest: str) -> str:
    """A whole record."""
    return json.dumps({"digest": digest}) + "\n"
