"""Boot a host into a stack it was provisioned for, and wait until it works.

Plain SSH, where provisioning is Ansible: a campaign reboots its hosts all the time, and on emulated hosts Ansible's
part took longer than the boot itself (docs/explanation/architecture.md).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import DeadlineError, HostUnreachableError, ProvisionError
from harness.hosts.model import Host
from harness.hosts.ssh import HostSession, connect
from harness.provision.stacks import check
from harness.wait import until

REBOOT_SECONDS = 600.0  # servers with much memory take minutes in their firmware
_SERVICES_SECONDS = 180.0
_KNOCK_SECONDS = 5.0  # for each stage of one try to log in to a host that may be booting
_SERVICES = ("nohype-counters.service", "nohype-exporter.service")
_OF_SOME_STACKS = ("nohype-sriov.service",)
_QUESTIONS = (
    "/proc/sys/kernel/random/boot_id",
    "/proc/cmdline",
    "/proc/sys/kernel/osrelease",
    "/boot/grub/custom.cfg",
    "/sys/hypervisor/type",
)


@dataclass(frozen=True)
class _Boot:
    """What a host runs, and what its boot entry for the stack would run."""

    id: str
    release: str  # of the running kernel
    running: frozenset[str]  # the kernel's arguments
    entry_release: str
    entry: frozenset[str]
    same_hypervisor: bool  # Xen runs where the entry has it, and only there

    @property
    def fits(self) -> bool:
        same_kernel = self.entry_release == self.release and self.entry <= self.running
        return bool(self.entry) and same_kernel and self.same_hypervisor


def activate(
    stack: str,
    host: Host,
    *,
    tell: Callable[[str], None] = lambda _: None,
    force_reboot: bool = False,
    seconds: float = REBOOT_SECONDS,
    cancelled: Callable[[], bool] = lambda: False,
) -> float:
    """As `enter`, with a session of its own. Returns the seconds of the reboot, 0 without one.

    Raises InputError for an unknown stack, and as `connect` and `enter`.
    """
    check(stack)
    session, took = enter(
        stack, host, connect(host), tell=tell, force_reboot=force_reboot, seconds=seconds, cancelled=cancelled
    )
    session.close()
    return took


def enter(
    stack: str,
    host: Host,
    session: HostSession,
    *,
    tell: Callable[[str], None] = lambda _: None,
    force_reboot: bool = False,
    seconds: float = REBOOT_SECONDS,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[HostSession, float]:
    """Boot `host` into `stack`, verify that by the kernel's release and command line, wait for its services.

    Reboots only where the host does not run the stack's present boot entry, or `force_reboot` asks for it. Returns a
    session in the boot it is in, and the seconds from the request to the host's SSH, 0 without a reboot. `session`
    itself is returned where there is no reboot, and closed where there is one or an error.

    Raises ProvisionError where the entry is missing, is not what the boot loader boots, or a service does not start,
    or when `cancelled` says so; DeadlineError when the host is not back within `seconds`; and what `connect` raises.
    """
    took = 0.0
    try:
        boot = _boot(session, stack)
        if not boot.entry:
            raise ProvisionError(
                f"there is no boot entry nohype-{stack}",
                where=host.name,
                fix=f"nohype provision --stack {stack} --limit {host.name}",
            )
        session.run(["grub-set-default", f"nohype-{stack}"], sudo=True)
        if force_reboot or not boot.fits:
            tell(f"reboots into {stack}")
            start = time.monotonic()
            _reboot(session)
            session, boot = _after(host, stack, boot.id, seconds, cancelled)
            took = time.monotonic() - start
        if not boot.fits:
            raise ProvisionError(
                f"the host did not boot entry nohype-{stack}, kernel {boot.entry_release}; "
                f"it runs {boot.release} with: {' '.join(sorted(boot.running))}",
                where=host.name,
                fix="does its boot loader read /boot/grub/custom.cfg and the saved entry (GRUB_DEFAULT=saved)?",
            )
        tell("waits for its services")
        _await_services(session)
    except BaseException:
        session.close()
        raise
    return session, took


def _boot(session: HostSession, stack: str) -> _Boot:
    found = session.run(["tail", "-v", "-n", "+1", "--", *_QUESTIONS], sudo=True, check=False)  # -v: names before texts
    texts = dict.fromkeys(_QUESTIONS, "")
    for part in re.split(r"^==> ", found.stdout, flags=re.MULTILINE)[1:]:
        name, _, text = part.partition(" <==\n")
        texts[name] = text.strip()
    boot_id, running, release, menu, hypervisor = (texts[name] for name in _QUESTIONS)
    marked = re.search(rf"^# BEGIN nohype-{re.escape(stack)}$(.*?)^# END ", menu, re.MULTILINE | re.DOTALL)
    kernel = r"^\s*(?:linux|module2)\s+\S*/vmlinuz-(\S+)\s+(.*)$"
    line = re.search(kernel, marked[1], re.MULTILINE) if marked else None
    entry_release, arguments = line.groups() if line else ("", "")
    entry_xen = bool(marked and "multiboot2" in marked[1])
    same_hypervisor = entry_xen == (hypervisor == "xen")
    running_words, entry_words = frozenset(running.split()), frozenset(arguments.split())
    return _Boot(boot_id, release, running_words, entry_release, entry_words, same_hypervisor)


def _reboot(session: HostSession) -> None:
    try:
        asked = session.run(["systemctl", "reboot"], sudo=True, check=False)
        if asked.exit_code > 0:
            raise ProvisionError(f"it refuses to reboot: {asked.stderr.strip()}", where=session.host_name)
    except HostUnreachableError:  # it was faster than its answer, as where the status is -1
        pass
    finally:
        session.close()


def _after(
    host: Host, stack: str, boot_id: str, seconds: float, cancelled: Callable[[], bool]
) -> tuple[HostSession, _Boot]:
    """The boot that follows `boot_id`, and a session in it."""

    def back() -> tuple[HostSession, _Boot] | None:
        if cancelled():
            raise ProvisionError("the wait for its boot was cancelled", where=host.name)
        try:
            session = connect(host, timeout=_KNOCK_SECONDS)
        except HostUnreachableError:
            return None
        try:
            boot = _boot(session, stack)
            if boot.id not in ("", boot_id):
                return session, boot
        except (HostUnreachableError, DeadlineError):
            pass
        session.close()
        return None

    return until(back, seconds=seconds, what="its reboot", where=host.name, fix="look at its console", interval=0.5)


def _await_services(session: HostSession) -> None:
    """Until all that boots with the host is done: nothing of it may run beside a workload."""
    session.run(["systemctl", "start", "multi-user.target"], sudo=True, timeout=_SERVICES_SECONDS)
    states = session.run(["systemctl", "show", "--property=Id,ActiveState", *_SERVICES, *_OF_SOME_STACKS]).stdout
    bad = []
    for block in states.strip().split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        name, state = unit.get("Id", ""), unit.get("ActiveState", "")
        if state == "failed" or (name in _SERVICES and state != "active"):
            bad.append(name)
    if bad:
        units = [f"--unit={name}" for name in bad]
        journal = session.run(
            ["journalctl", "--boot", "--no-pager", "--output=cat", "--lines=8", *units], sudo=True, check=False
        )
        raise ProvisionError(
            f"{', '.join(bad)} does not run; it said: {journal.stdout.strip() or 'nothing'}",
            where=session.host_name,
            fix="provision the host again",
        )
