"""`nohype-host`: the harness's hands on a host. JSON in, JSON out; run as root.

nohype-host facts                            what this host can do
nohype-host fingerprint                      what it is: flat text facts
nohype-host guest create < SPEC.json         start a guest
nohype-host guest list                       every guest of this boot
nohype-host guest destroy NAME | --all       stop guests
nohype-host guest kill NAME                  end one that has no hypervisor, by NMI; destroy clears it away
nohype-host guest console NAME               its serial console on this terminal
nohype-host exits                            VM exits of every guest by vCPU and reason
nohype-host counters setup | remove          begin or end counting
nohype-host install                          unpack this archive on the host, so that it starts quickly
nohype-host vf setup                         make the virtual functions of /etc/nohype/sriov.json
nohype-host counters serve                   on Xen: count
nohype-host exporter --listen ADDRESS:PORT [--web.config.file FILE]
                                             serve all that to Prometheus, with TLS and passwords where FILE has them
nohype-host serve                            the commands above but servers and console, asked for line by line:
                                             {"words": ["guest", "create"], "payload": SPEC} -> {"result": ...}

Exit status 1 means failure; the last line of stderr is then {"error": {"what": ..., "where": ..., "fix": ...}}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from .errors import AgentError


def dispatch(words: Sequence[str], payload: Callable[[], object]) -> object:
    """Run the subcommand and return what to print; `payload` gives the document that some take."""
    # Modules are imported where they are needed: on an emulated host each costs a moment.
    match list(words):
        case ["facts" | "fingerprint" as which]:
            from . import facts

            return facts.capabilities() if which == "facts" else facts.fingerprint()
        case ["exits"] | ["counters", "setup" | "remove"]:
            from . import counters

            asked = {"exits": counters.reading, "setup": counters.setup, "remove": counters.remove}
            return asked[words[-1]]()
        case ["vf", "setup"]:
            from . import guests, sriov

            return sriov.setup(used=guests.vfs_in_use())
        case ["guest", *action]:
            from . import guests

            match action:
                case ["create"]:
                    return guests.create(payload())
                case ["list"]:
                    return guests.listing()
                case ["destroy", "--all"]:
                    return guests.destroy_all()
                case ["destroy", name]:
                    return guests.destroy(name)
                case ["kill", name]:
                    return guests.kill(name)
    raise AgentError(f"unknown command: {' '.join(words) or '(none)'}", fix="see: nohype-host --help")


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests, one JSON document a line each way, until there are no more.

    Python's start is the long part of a command where the CPU is emulated; here it is paid once.
    """
    for line in requests:
        try:
            request = json.loads(line)
            words, payload = [str(word) for word in request["words"]], request.get("payload")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            answer: Mapping[str, object] = AgentError(f"a request cannot be understood: {error}").document()
        else:
            answer = _answer(lambda words=words, payload=payload: dispatch(words, lambda: payload))  # type: ignore[misc]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of the zipapp; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words in (["--help"], ["-h"], ["help"]):
        sys.stdout.write(f"{__doc__}\n")
        return 0
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _end)
    answer = _answer(lambda: _run(words))
    if "error" in answer:
        sys.stderr.write(json.dumps(answer) + "\n")
        return 1
    if answer["result"] is not None:
        json.dump(answer["result"], sys.stdout)
        sys.stdout.write("\n")
    return 0


def _run(words: list[str]) -> object:
    """The result to print; None where the command has printed, or served, by itself."""
    if os.geteuid() != 0:
        raise AgentError("nohype-host needs root", fix="sudo -n nohype-host ...")
    match words:
        case ["exporter", "--listen", listen]:
            from . import exporter

            exporter.serve(listen)
        case ["counters", "serve"]:
            from . import xen_counters

            xen_counters.serve()
        case ["exporter", "--listen", listen, "--web.config.file", path]:
            from . import exporter

            exporter.serve(listen, web_config_file=path)
        case ["install"]:
            from . import install

            return install.install(Path(sys.argv[0]))
        case ["guest", "console", name]:
            from . import console

            console.attach(name)
        case ["serve"]:
            serve(sys.stdin, sys.stdout)
        case _:
            return dispatch(words, _stdin)
    return None


def _stdin() -> object:
    try:
        return json.load(sys.stdin)
    except ValueError as error:
        raise AgentError(f"stdin is not JSON: {error}", where="guest spec") from None


def _answer(command: Callable[[], object]) -> Mapping[str, object]:
    """{"result": ...}, or {"error": ...} where the command fails."""
    try:
        return {"result": command()}
    except AgentError as error:
        return error.document()
    except OSError as error:
        return AgentError(str(error.strerror or error), where=str(error.filename or "")).document()
    except Exception as error:  # a bug: the control node still gets its one line, the trace stands before it
        import traceback

        traceback.print_exc()
        return AgentError(
            f"{type(error).__name__}: {error}", where="nohype-host", fix="this is a bug; report it"
        ).document()


def _end(signum: int, _frame: object) -> None:
    """Leave through the usual cleaning up."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
