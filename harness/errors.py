"""The harness's errors: each says what happened, where, and how to mend it.

Exit codes are part of the command line's contract (docs/reference/cli.md).
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a `nohype` process tells the script that ran it."""

    OK = 0
    FAILED = 1  # the work was done, and some of it failed (trials, hosts)
    BAD_INPUT = 2  # a file or an argument is wrong; nothing was started
    UNAVAILABLE = 3  # a host, a tool or a privilege is missing
    REGRESSED = 4  # a night was measured, and something is worse than it was
    INTERRUPTED = 130  # Ctrl-C, after cleaning up


class HarnessError(Exception):
    """Base of every error a user may see.

    `what` is one sentence; `where` names the file:line, host or command; `fix` is what the user can do.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  to mend: {self.fix}" if self.fix else text

    def __reduce__(self) -> tuple[object, ...]:
        # Durable workflows pickle errors; the default would lose the keyword-only parts.
        return (_rebuild, (type(self), self.what, self.where, self.fix))


def _rebuild(cls: type[HarnessError], what: str, where: str, fix: str) -> HarnessError:
    return cls(what, where=where, fix=fix)


class InputError(HarnessError):
    """A file or argument from the user is wrong."""

    exit_code = ExitCode.BAD_INPUT


class UnavailableError(HarnessError):
    """Something outside the harness is missing: a tool, a privilege, a capability of a host."""

    exit_code = ExitCode.UNAVAILABLE


class NotProvisionedError(UnavailableError):
    """The host has no `nohype-host` yet: what a host is before its first campaign."""


class HostError(HarnessError):
    """A host does not do what it should (base for errors that count against the host)."""


class HostUnreachableError(HostError):
    """No SSH connection to the host can be made; power-cycling it may help."""

    exit_code = ExitCode.UNAVAILABLE


class HostKeyError(HostError):
    """The host answered with a key that is not the known one. Never retried, never power-cycled."""

    exit_code = ExitCode.UNAVAILABLE


class CommandError(HostError):
    """A command on a host or guest ended with a non-zero status."""


class DeadlineError(HostError):
    """Something did not happen within its deadline."""


class ProvisionError(HostError):
    """A playbook failed; names host, task and the module's message."""


class GuestError(HarnessError):
    """A guest could not be created, reached or destroyed."""


class WorkloadError(HarnessError):
    """A workload failed in a guest, or its output could not be understood."""


class StorageError(HarnessError):
    """Results or artifacts cannot be written or read: no space, no permission, no database."""
