"""`nohype-host`: the harness's hands on a host. JSON in, JSON out; run as root.

nohype-host facts                            what this host can do
nohype-host fingerprint                      what it is: flat text facts
nohype-host guest create < SPEC.json         start a guest
nohype-host guest list                       every guest of this boot
nohype-host guest destroy NAME | --all       stop guests
nohype-host guest console NAME               its serial console on this terminal
nohype-host exits                            VM exits of every guest by vCPU and reason
nohype-host counters setup | remove          begin or end counting
nohype-host vf setup                         make the virtual functions of /etc/nohype/sriov.json
nohype-host exporter --listen ADDRESS:PORT   serve all that to Prometheus

Exit status 1 means failure; the last line of stderr is then {"error": {"what": ..., "where": ..., "fix": ...}}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence

from .errors import AgentError


def dispatch(words: Sequence[str]) -> object:
    """Run the subcommand and return what to print (None: it has printed already)."""
    match list(words):
        case ["facts"]:
            from . import facts

            return facts.capabilities()
        case ["fingerprint"]:
            from . import facts

            return facts.fingerprint()
        case ["exits"]:
            from . import counters

            return counters.reading()
        case ["counters", "setup"]:
            from . import counters

            return counters.setup()
        case ["counters", "remove"]:
            from . import counters

            return counters.remove()
        case ["vf", "setup"]:
            from . import guests, sriov

            return sriov.setup(used=guests.vfs_in_use())
        case ["guest", *rest]:
            return _guest(rest)
        case ["exporter", "--listen", listen]:
            from . import exporter

            exporter.serve(listen)
            return None
    raise AgentError(f"unknown command: {' '.join(words) or '(none)'}", fix="see: nohype-host --help")


def _guest(words: list[str]) -> object:
    from . import guests

    match words:
        case ["create"]:
            try:
                document = json.load(sys.stdin)
            except ValueError as error:
                raise AgentError(f"stdin is not JSON: {error}", where="guest spec") from None
            return guests.create(document)
        case ["list"]:
            return guests.listing()
        case ["destroy", "--all"]:
            return guests.destroy_all()
        case ["destroy", name]:
            return guests.destroy(name)
        case ["console", name]:
            from . import console

            console.attach(name)
            return None
    raise AgentError(f"unknown command: guest {' '.join(words)}", fix="see: nohype-host --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of the zipapp; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words in (["--help"], ["-h"], ["help"]):
        sys.stdout.write(f"{__doc__}\n")
        return 0
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _end)
    try:
        if os.geteuid() != 0:
            raise AgentError("nohype-host needs root", fix="sudo -n nohype-host ...")
        result = dispatch(words)
    except AgentError as error:
        return _fail(error)
    except OSError as error:
        return _fail(AgentError(str(error.strerror or error), where=str(error.filename or "")))
    except Exception as error:  # a bug: the control node still gets its one line, the trace stands before it
        import traceback

        traceback.print_exc()
        return _fail(
            AgentError(f"{type(error).__name__}: {error}", where="nohype-host", fix="this is a bug; report it")
        )
    if result is not None:
        json.dump(result, sys.stdout)
        sys.stdout.write("\n")
    return 0


def _fail(error: AgentError) -> int:
    sys.stderr.write(json.dumps(error.document()) + "\n")
    return 1


def _end(signum: int, _frame: object) -> None:
    """Leave through the usual cleaning up."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
