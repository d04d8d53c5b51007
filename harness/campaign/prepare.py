"""Bring a campaign's stacks to its hosts: all that a host still needs in one run of Ansible."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.campaign.protocol import Tell
from harness.errors import ProvisionError
from harness.guests.image import GuestImage
from harness.hosts.model import Host
from harness.hosts.ssh import HostSession
from harness.kernel.image import KernelImage
from harness.provision import stacks as provision
from harness.provision.model import START, OnEvent, TaskEvent

Install = Callable[[Sequence[str], Host, Path, OnEvent], None]  # provisions one host for stacks; logs to the folder


class Preparation:
    """Knows which hosts take their stacks together. One for a campaign; each host is prepared by one thread at a time.

    `digest` is what a host should be provisioned with for a stack; `cancelled` is asked while that is done, and why it
    may have failed.
    """

    def __init__(self, digest: Callable[[str, Host], str], install: Install, cancelled: Callable[[], bool]) -> None:
        self._digest = digest
        self._install = install
        self.cancelled = cancelled
        self._apart: set[str] = set()  # hosts that did not take their stacks together

    def missing(self, stacks: Sequence[str], host: Host, session: HostSession) -> tuple[str, ...]:
        """Those of the stacks that the host is not provisioned for."""
        return provision.unprovisioned(session, {stack: self._digest(stack, host) for stack in stacks})

    def install(self, stack: str, missing: Sequence[str], host: Host, folder: Path, tell: Tell) -> None:
        """Provision the host for `stack`, one of the `missing`, and for the others with it if that goes well.

        If not, the host may lack what only one of them needs: from then on each is provisioned alone, so that none
        fails for what another one lacks. Raises as `harness.provision.stacks.provision`.
        """
        if len(missing) > 1 and host.name not in self._apart:
            try:
                self._install_told(missing, host, folder, tell)
            except ProvisionError as error:
                if self.cancelled():
                    raise
                self._apart.add(host.name)
                why = error.what.partition("\n")[0]
                tell(f"provision each stack alone, together they failed: {why}")
            else:
                return
        self._install_told([stack], host, folder, tell)

    def _install_told(self, stacks: Sequence[str], host: Host, folder: Path, tell: Tell) -> None:
        doing = f"provision {', '.join(stacks)}"
        tell(doing)
        self._install(stacks, host, folder, _telling(tell, doing))


def of_campaign(
    inventory: Path, image: GuestImage, kernel: KernelImage | None, cancelled: Callable[[], bool]
) -> Preparation:
    """With the image and the kernel of a campaign; `kernel` may be None where none of its stacks boots it."""

    def digest(stack: str, host: Host) -> str:
        return provision.digest(stack, image.digest, host, kernel_digest=kernel.digest if kernel else "")

    def install(stacks: Sequence[str], host: Host, folder: Path, on_event: OnEvent) -> None:
        provision.provision(
            stacks,
            [host],
            inventory=inventory,
            image=image,
            kernel=kernel,
            artifacts=folder,
            on_event=on_event,
            cancelled=cancelled,
        )

    return Preparation(digest, install, cancelled)


def _telling(tell: Tell, doing: str) -> OnEvent:
    """Tells each task of a playbook as a part of what is being done."""
    tasks = itertools.count(1)

    def on_event(event: TaskEvent) -> None:
        if event.outcome == START:
            tell(doing, f"task {next(tasks)}: {event.title}")

    return on_event
