"""Which nightlies are installed, and which processes of this control node are at work on them."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable
from pathlib import Path

from harness.config import nearest
from harness.errors import InputError, UnavailableError
from harness.paths import state_dir
from harness.results import presence
from harness.results.artifacts import storing
from harness.results.model import NightlyRecord
from harness.results.store import Store

_CONTROLLER = "_controller"  # no nightly is called so


def node() -> str:
    """The control node's name: each runs the nightlies that were installed on it."""
    return platform.node() or "localhost"


def installed(store: Store) -> tuple[NightlyRecord, ...]:
    """The nightlies that are installed, on whatever control node."""
    return tuple(record for record in store.nightlies() if record.removed_at is None)


def installed_here(store: Store) -> tuple[NightlyRecord, ...]:
    """Those of this control node."""
    return tuple(record for record in installed(store) if record.node == node())


def find_nightlies(store: Store, name: str | None) -> tuple[NightlyRecord, ...]:
    """The installed nightly of that name, all for None; never none. Raises InputError, UnavailableError."""
    known = {record.name: record for record in installed(store)}
    if not known:
        raise UnavailableError(
            "no nightly is installed", where=store.name, fix="install one: nohype nightly install FILE"
        )
    if name is None:
        return tuple(known.values())
    if name not in known:
        fix = f"installed: {', '.join(known)}"
        raise InputError(f"no nightly {name!r}{nearest(name, known)}", where="NIGHTLY", fix=fix)
    return (known[name],)


def find_nightly(store: Store, name: str | None) -> NightlyRecord:
    """The installed nightly of that name; None is the only one. Raises InputError, UnavailableError."""
    found = find_nightlies(store, name)
    if len(found) > 1:
        names = ", ".join(record.name for record in found)
        raise InputError("which nightly?", where="NIGHTLY", fix=f"installed: {names}")
    return found[0]


def controller() -> int | None:
    """The process that is this control node's controller, None where there is none."""
    return presence.holder(_path(_CONTROLLER))


def controlling() -> contextlib.AbstractContextManager[None]:
    """Be this control node's controller. Raises UnavailableError where another process is. Ends with the process."""
    path = _made(_CONTROLLER)
    return presence.holding(
        path,
        lambda process: UnavailableError(
            f"process {process or '(unknown)'} is the controller of this control node's nightlies already",
            where=str(path),
            fix="one is enough; to see it: nohype nightly list",
        ),
    )


def in_process(nightly: str) -> bool:
    """Whether a process of this control node is running a night of the nightly now."""
    return presence.holder(_path(nightly)) is not None


def alone(nightly: str, tell: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """One night of a nightly at a time: wait until the one before it has ended. Ends with the process."""
    return presence.in_turn(
        _made(nightly), lambda: tell("another night of this nightly is being run; waiting for its end")
    )


def _made(name: str) -> Path:
    path = _path(name)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _path(name: str) -> Path:
    return state_dir() / "nightly" / f"{name}.lock"
