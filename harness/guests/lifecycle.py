"""Guests on a host: make, list, reach, end. The host's `nohype-host` does the work; here it is asked to."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from harness.errors import DeadlineError, GuestError, HarnessError, HostError
from harness.guests.image import GuestImage
from harness.guests.model import Engagement, Guest, GuestSpec
from harness.wait import until

if TYPE_CHECKING:
    from harness.hosts.ssh import HostSession

SSH_PORT = 22
CREATE_SECONDS = 180.0  # an emulated host fills 512 MiB of hugepages in about 10 s; the rest is margin
LOGIN_SECONDS = 30.0  # for a login in a guest, and for how long one that hangs up is asked again
_LOST_CORES = "/sys/devices/system/cpu/lost"
_LOOK_SECONDS = 10.0  # how often a guest that does not answer is looked at on its host


def check_cores(session: HostSession) -> None:
    """Raises HostError where the host has lost a core: an earlier guest may still run on it, beside whatever comes."""
    lost = session.run(["cat", _LOST_CORES], check=False).stdout.strip()  # other kernels have no such file
    if lost:
        raise HostError(
            f"cores {lost} are lost: they were not confirmed to have left an earlier guest, which may still run there",
            where=session.host_name,
            fix=f"reboot the host: nohype hosts power {session.host_name} cycle",
        )


def create(session: HostSession, spec: GuestSpec) -> Guest:
    """Start a guest. It exists when this returns; it does not answer yet (see `await_ssh`).

    Raises GuestError with the host's reason; the host has cleaned up then.
    """
    try:
        document = session.agent("guest", "create", payload=asdict(spec), timeout=CREATE_SECONDS)
    except HostError as error:
        raise _as_guest_error(error, f"guest {spec.name!r} was not created: ", session) from None
    return parse(document, session.host_name)


def check_name(name: str, known: Iterable[Guest], where: str) -> None:
    """Raises GuestError where one of the host's guests has the name: better said than what else is in its way."""
    for guest in known:
        if guest.name == name:
            raise GuestError(
                f"guest {name!r} exists ({guest.state})",
                where=where,
                fix="take another name: a name is used once per boot, so that exits stay attributable to one guest",
            )


def busy_cores(known: Iterable[Guest]) -> frozenset[int]:
    """The host cores that running guests have for themselves."""
    return frozenset(core for guest in known if guest.state == "running" for core in guest.cpus)


def list_guests(session: HostSession) -> tuple[Guest, ...]:
    """Every guest since the host's boot; those that have ended have state "stopped"."""
    return _parse_all(session.agent("guest", "list"), session.host_name)


def destroy(session: HostSession, name: str) -> Guest:
    """End a guest; its counters stay readable. Doing it twice is fine. Raises GuestError for an unknown name."""
    try:
        document = session.agent("guest", "destroy", name)
    except HostError as error:
        raise _as_guest_error(error, "", session) from None
    return _parse_all(document, session.host_name)[0]


def destroy_all(session: HostSession) -> tuple[Guest, ...]:
    """End every running guest of the host and return those."""
    return _parse_all(session.agent("guest", "destroy", "--all", timeout=120), session.host_name)


def kill(session: HostSession, name: str) -> Guest:
    """End a guest that has no hypervisor, by NMI. It tells how it ended until it is destroyed.

    Raises GuestError for an unknown guest, and for one that has a hypervisor.
    """
    try:
        document = session.agent("guest", "kill", name)
    except HostError as error:
        raise _as_guest_error(error, "", session) from None
    return parse(document, session.host_name)


def await_ssh(session: HostSession, guest: Guest, seconds: float) -> float:
    """Wait until the guest's SSH server answers; the seconds waited, on our monotonic clock.

    Raises GuestError, with the console's last lines, when it does not within `seconds` or the guest ends meanwhile;
    also where a guest that is to leave its hypervisor has not, for it does so before it answers.
    """
    start = time.monotonic()
    looked = start

    def answers() -> bool:
        nonlocal looked
        if session.tcp_open(guest.address, SSH_PORT, timeout=2):
            return True
        if time.monotonic() - looked >= _LOOK_SECONDS:
            looked = time.monotonic()
            _check_runs(session, guest)
        return False

    try:
        until(answers, seconds=seconds, what="SSH", interval=0.05)
    except DeadlineError:
        raise GuestError(
            f"guest {guest.name!r} did not answer SSH at {guest.address} within {seconds:g} s"
            f"{console_tail(session, guest)}",
            where=session.host_name,
            fix=f"its console's log is {guest.console} on the host; a longer boot deadline may help slow hosts",
        ) from None
    waited = time.monotonic() - start
    check_disengaged(session, guest)
    return waited


def _check_runs(session: HostSession, guest: Guest) -> None:
    """Raises GuestError, with how it ended and the console's last lines, where nothing can be awaited any more."""
    now = look(session, guest)
    if now.state != "running" or now.death:
        how = f" ({now.death})" if now.death else ""
        raise GuestError(
            f"guest {guest.name!r} ended before SSH answered{how}{console_tail(session, guest)}",
            where=session.host_name,
            fix=f"its console's log is {guest.console} on the host",
        )


def look(session: HostSession, guest: Guest) -> Guest:
    """The guest as it is now. Raises GuestError where the host knows it no more: it was booted anew."""
    for now in list_guests(session):
        if now.name == guest.name:
            return now
    raise GuestError(f"guest {guest.name!r} is gone: its host was booted anew", where=session.host_name)


def check_disengaged(session: HostSession, guest: Guest) -> None:
    """Raises GuestError, with the reason, where a guest that must have left its hypervisor has it still or is dead.

    Nothing is asked of the host for guests of other stacks.
    """
    if not guest.engagement.state:
        return
    now = look(session, guest)
    if now.engagement.state != "disengaged":
        why = _why_engaged(now.engagement)
        how = now.death or f"has not left its hypervisor: {why}{console_tail(session, guest)}"
        where, fix = session.host_name, f"its console's log is {guest.console} on the host"
        raise GuestError(f"guest {guest.name!r} {how}", where=where, fix=fix)


def _why_engaged(now: Engagement) -> str:
    return f"the host refused ({now.refused})" if now.refused else "it has not come to ask its host"


def connect(session: HostSession, guest: Guest, image: GuestImage, timeout: float | None = None) -> HostSession:
    """A session in the guest, through its host, as root; the guest's host key must be its image's.

    A guest that hangs up on a login is asked again while it runs, for `timeout` seconds (LOGIN_SECONDS where none is
    given). Raises GuestError, with the console's last lines, when that has not helped.
    """
    seconds = LOGIN_SECONDS if timeout is None else timeout
    failures = []

    def login() -> HostSession | None:
        try:
            return session.jump(
                guest.address, user="root", private_key=image.private_key, host_keys=image.host_keys, timeout=seconds
            )
        except GuestError as error:
            failures.append(error)
            _check_runs(session, guest)
            return None

    try:
        return until(login, seconds=seconds, what="a login", interval=0.5)
    except DeadlineError:
        last = failures[-1]
        raise GuestError(f"{last.what}{console_tail(session, guest)}", where=last.where, fix=last.fix) from None


def console_tail(session: HostSession, guest: Guest, lines: int = 5) -> str:
    """The console's last lines as the end of an error's sentence; "" where there are none."""
    try:
        result = session.run(["tail", "-n", str(lines), guest.console], sudo=True, check=False)
    except HostError:
        return ""
    said = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    return "; its console's last lines: " + " | ".join(said) if result.exit_code == 0 and said else ""


def parse(document: object, where: str) -> Guest:
    """The guest in what `nohype-host` printed. Raises HostError when it is something else."""
    try:
        if not isinstance(document, dict):
            raise TypeError("no JSON object")
        fields = dict(document)
        for key in ("vcpu_threads", "cpus"):
            fields[key] = tuple(int(item) for item in fields[key])
        engagement = Engagement(**fields["engagement"])
        fields["engagement"] = replace(engagement, lost=tuple(int(core) for core in engagement.lost))
        return Guest(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise HostError(
            f"guest cannot be understood ({type(error).__name__}: {error})",
            where=where,
            fix="the host's nohype-host is of another version; provision the host again",
        ) from None


def _as_guest_error(error: HostError, prefix: str, session: HostSession) -> HarnessError:
    """What the host's program refused is the guest's affair; a host out of reach or hung stays the host's."""
    if type(error) is not HostError:
        return error
    where = error.where if session.host_name in error.where else f"{session.host_name}: {error.where}"
    return GuestError(f"{prefix}{error.what}", where=where.removesuffix(": "), fix=error.fix)


def _parse_all(document: object, where: str) -> tuple[Guest, ...]:
    return tuple(parse(item, where) for item in (document if isinstance(document, list) else [document]))
