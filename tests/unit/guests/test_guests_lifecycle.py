"""Waiting for guests that leave their hypervisor: what their hosts say of them decides."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import GuestError, HostError
from harness.guests import lifecycle
from harness.guests.image import GuestImage
from harness.guests.model import Engagement, Guest

CREATED = Guest(
    *("g1", "nohype", "running", "10.79.1.10", "", "0000:02:10.0", "abc", (11,), (2,), 512, 1.0, "u", "/c"),
    engagement=Engagement("engaged"),
)
ORDINARY = replace(CREATED, stack="kvm", engagement=Engagement())
DISENGAGED = replace(CREATED, engagement=Engagement("disengaged"))
REFUSED = replace(CREATED, engagement=Engagement("engaged", "EOPNOTSUPP"))
KILLED = replace(CREATED, engagement=Engagement("killed", "", "exit", 0, "msr", "0x1", "0x0", "0xffffffff8103c2b0"))
LATE = replace(CREATED, engagement=Engagement("killed", cause="deadline"), disengage_seconds=120.0)
KEPT = replace(CREATED, engagement=Engagement("killed", "EXDEV", "refused"))


class Session:
    """A host that answers `guest list` with what it is given. Real ones are in tests/rack."""

    host_name = "rack1"

    def __init__(self, *guests: Guest, answers: bool = True, hangs_up: int = 0, lost: str = "") -> None:
        self._guests = guests
        self._answers = answers
        self._lost = lost
        self._hangs_up = hangs_up  # on that many logins
        self.asked: list[tuple[str, ...]] = []

    def agent(self, *words: str, **_: object) -> object:
        self.asked.append(words)
        found = [asdict(guest) for guest in self._guests]
        return found if words == ("guest", "list") else found[0]

    def tcp_open(self, *_: object, **__: object) -> bool:
        return self._answers

    def jump(self, address: str, **_: object) -> str:
        if self._hangs_up:
            self._hangs_up -= 1
            raise GuestError("the guest does not answer: transport shut down", where=f"rack1/{address}")
        return f"session in {address}"

    def run(self, argv: list[str], **_: object) -> Any:
        if argv[0] == "cat":
            assert argv[1] == "/sys/devices/system/cpu/lost"
            return SimpleNamespace(exit_code=0, stdout=self._lost)
        return SimpleNamespace(exit_code=0, stdout="guest-boot: leaves its hypervisor\n")


def test_a_guest_that_left_its_hypervisor_is_up() -> None:
    assert lifecycle.await_ssh(Session(DISENGAGED), CREATED, 5) < 5  # type: ignore[arg-type]


def test_nothing_is_asked_about_a_guest_that_keeps_it() -> None:
    session = Session(ORDINARY)
    lifecycle.await_ssh(session, ORDINARY, 5)  # type: ignore[arg-type]
    assert session.asked == []


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ((REFUSED,), r"has not left its hypervisor: the host refused \(EOPNOTSUPP\)"),
        (
            (CREATED,),
            "has not left its hypervisor: it has not come to ask .*last lines: guest-boot: leaves",
        ),
        ((KILLED,), "'g1' killed: msr at RIP 0xffffffff8103c2b0"),
        ((LATE,), "'g1' killed by its host: it had not left its hypervisor within 120 s"),
        ((KEPT,), r"'g1' killed by its host, which refused \(EXDEV\) and lets no guest stay behind"),
        ((), "is gone: its host was booted anew"),
    ],
)
def test_one_that_answers_with_its_hypervisor_or_just_before_its_end_is_not_up(
    now: tuple[Guest, ...], message: str
) -> None:
    with pytest.raises(GuestError, match=message) as caught:
        lifecycle.await_ssh(Session(*now), CREATED, 5)  # type: ignore[arg-type]
    assert caught.value.where == "rack1"


def test_a_name_is_used_once_per_boot() -> None:
    lifecycle.check_name("g2", (CREATED,), "rack1")
    with pytest.raises(GuestError, match=r"guest 'g1' exists \(stopped\)"):
        lifecycle.check_name("g1", (replace(CREATED, state="stopped"),), "rack1")


@pytest.mark.parametrize(
    ("now", "how"),
    [(KILLED, "msr at RIP"), (LATE, "it had not left its hypervisor within 120 s"), (KEPT, "EXDEV")],
)
def test_one_that_was_killed_while_it_booted_is_not_awaited(
    monkeypatch: pytest.MonkeyPatch, now: Guest, how: str
) -> None:
    monkeypatch.setattr(lifecycle, "_LOOK_SECONDS", 0.0)
    with pytest.raises(GuestError, match=rf"ended before SSH answered \(killed.*{how}.*last lines: guest-boot: leaves"):
        lifecycle.await_ssh(Session(now, answers=False), CREATED, 60)  # type: ignore[arg-type]


def test_a_kill_that_was_asked_for_is_told_as_such() -> None:
    asked = replace(KILLED, engagement=replace(KILLED.engagement, cause="asked", reason="nmi"))
    session = Session(asked)
    assert lifecycle.kill(session, "g1").death == "killed (asked): nmi at RIP 0xffffffff8103c2b0"  # type: ignore[arg-type]
    assert session.asked == [("guest", "kill", "g1")]
    torn = replace(KILLED, engagement=Engagement("killed", cause="torn down"))
    assert torn.death == "killed (torn down): no VM exit recorded"


def test_on_a_host_that_has_lost_a_core_nothing_is_measured() -> None:
    session = Session(CREATED, lost="2-3\n")
    with pytest.raises(HostError, match=r"rack1: cores 2-3 are lost: they were not confirmed .*\n.*reboot the host"):
        lifecycle.check_cores(session)  # type: ignore[arg-type]
    lifecycle.check_cores(Session(CREATED, lost=""))  # type: ignore[arg-type]


IMAGE = GuestImage("abc", Path("/image"), "6.12", ("ssh-ed25519 AAAA",), Path("/key"))


def test_a_guest_that_hangs_up_on_a_login_is_asked_again() -> None:
    session = Session(ORDINARY, hangs_up=2)
    assert lifecycle.connect(session, ORDINARY, IMAGE) == "session in 10.79.1.10"  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.parametrize(
    ("now", "timeout", "message"),
    [
        (ORDINARY, 0.1, r"does not answer: transport shut down; .*last lines: guest-boot: leaves"),
        (replace(ORDINARY, state="stopped"), 60, r"guest 'g1' ended before SSH answered; .*last lines: guest-boot"),
        (KILLED, 60, r"guest 'g1' ended before SSH answered \(killed: msr at RIP"),
    ],
)
def test_one_that_goes_on_hanging_up_or_has_ended_is_given_up(now: Guest, timeout: float, message: str) -> None:
    with pytest.raises(GuestError, match=message):
        lifecycle.connect(Session(now, hangs_up=1000), CREATED, IMAGE, timeout)  # type: ignore[arg-type]
