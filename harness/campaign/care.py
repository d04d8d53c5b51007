"""What is done about hosts that do not answer: they are waited for, power-cycled once, and then given up."""

from __future__ import annotations

import contextlib

from harness.campaign.events import Doing
from harness.campaign.run import Run
from harness.errors import DeadlineError, HarnessError, HostError, HostKeyError, HostUnreachableError
from harness.results.model import NoteKind
from harness.wait import until

_MARK = "quarantined: "


class QuarantinedError(HostError):
    """The host was given up for the rest of the campaign."""


def refuse_quarantined(run: Run, host: str) -> None:
    """Raises QuarantinedError for a host that was given up."""
    reason = run.noted(NoteKind.QUARANTINED, host)
    if reason is not None:
        raise QuarantinedError(f"host quarantined ({reason.removeprefix(_MARK)})")


def host_lost(run: Run, host: str, error: HarnessError) -> None:
    """The host does not answer: power-cycle it once in a campaign, the next time give it up.

    One that shows a wrong host key may be another machine, and is given up at once. Raises Stopped.
    """
    run.check_stop()
    may_help = not isinstance(error, HostKeyError) and run.spec.power_cycle == "once"
    if not may_help or run.noted(NoteKind.POWER_CYCLED, host) is not None:
        return run.note(NoteKind.QUARANTINED, host, f"{_MARK}{error.what}")
    run.emit(Doing(host, "does not answer: power cycle"))
    try:
        run.lab.power_cycle(host, run.spec.deadlines.host_boot)
    except HarnessError as failure:
        reason = f"{_MARK}{error.what}; power cycle did not help: {failure.what}"
        return run.note(NoteKind.QUARANTINED, host, reason)
    # Noted when it is done: a controller that is killed in between does it again, and does not find the host off.
    return run.note(NoteKind.POWER_CYCLED, host, f"power-cycled: {error.what}")


def answers(run: Run, host: str) -> bool:
    """Whether SSH answers, be it not as it should."""
    try:
        run.lab.open(host).close()
    except HostUnreachableError:
        return False
    except HarnessError:
        pass
    return True


def await_answer(run: Run, host: str) -> None:
    """Wait until the host answers, but no longer than it may take to boot. Raises Stopped."""

    def done() -> bool:
        run.check_stop()
        return answers(run, host)

    with contextlib.suppress(DeadlineError):  # whoever needs the host will find it lost
        until(done, seconds=run.spec.deadlines.host_boot, what="SSH", interval=1)
