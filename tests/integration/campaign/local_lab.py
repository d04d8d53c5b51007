"""A lab whose hosts are folders of this machine: stands in for hosts where the engine itself is tested.

A guest is a folder, a workload a real process here, and an exit counter a real file that the process makes longer.
Boots change a boot id. What real hosts do is tested with real hosts, in tests/rack.

Faults make calls fail: [{"method": "run", "host": "alpha", "calls": [2], "error": "WorkloadError"}] lets the second
`run` on alpha fail. `calls` count from 1 in each process; "kill" as error ends the process as kill -9 would.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness import errors
from harness.campaign.protocol import Bench, HostState, Tell
from harness.exits.model import ExitReading
from harness.guests.model import Guest
from harness.hosts.discover import make_fingerprint
from harness.results.artifacts import write_text
from harness.results.model import ExitCount, Fingerprint, GuestTotals
from harness.workloads.model import WorkloadResult
from harness.workloads.parse import parse
from harness.workloads.spec import Workload


class LocalLab:
    """See harness.campaign.protocol.Lab."""

    def __init__(self, root: Path, faults: Sequence[dict[str, object]] = (), kill_after: int = 0) -> None:
        self.root = root
        self._faults = faults
        self._kill_after = kill_after  # calls of any method
        self._all_calls = 0
        self._calls: Counter[tuple[str, str]] = Counter()

    def called(self, method: str, host: str) -> None:
        """Every call passes here, before it does anything."""
        self._all_calls += 1
        self._calls[method, host] += 1
        if self._kill_after and self._all_calls > self._kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        for fault in self._faults:
            number = self._calls[method, host]
            if fault["method"] == method and fault.get("host", host) == host and number in fault["calls"]:
                if fault["error"] == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if fault["error"] == "bug":
                    raise ZeroDivisionError("a bug")
                raise getattr(errors, str(fault["error"]))(f"{method} was made to fail", where=host)

    def host(self, name: str) -> Path:
        folder = self.root / name
        (folder / "guests").mkdir(parents=True, exist_ok=True)
        return folder

    def log(self, line: str) -> None:
        with (self.root / "calls.log").open("a") as file:
            file.write(f"{os.getpid()} {line}\n")

    def boot(self, host: str, stack: str, *, fresh: bool) -> float:
        place = self.host(host)
        now = json.loads((place / "boot.json").read_text()) if (place / "boot.json").exists() else {}
        if not fresh and now.get("stack") == stack:
            return 0.0
        self.log(f"boot {host} {stack}")
        for guest in (place / "guests").iterdir():
            (guest / "running").unlink(missing_ok=True)
            (self.root / "gone").mkdir(exist_ok=True)
            guest.rename(self.root / "gone" / guest.name)
        _replace(place / "boot.json", json.dumps({"boot_id": secrets.token_hex(8), "stack": stack}))
        return 0.5

    def open(self, host: str) -> Bench:
        self.called("open", host)
        return LocalBench(self, host)

    def power_cycle(self, host: str, seconds: float) -> None:
        self.called("power_cycle", host)
        self.log(f"power_cycle {host}")
        place = self.host(host) / "boot.json"
        stack = json.loads(place.read_text())["stack"] if place.exists() else ""
        self.boot(host, stack, fresh=True)

    def disagreements(self, host: str, totals: Sequence[GuestTotals]) -> dict[str, list[str]]:
        """Compares with the counter files, as the real one does with Prometheus."""
        self.called("disagreements", host)
        found: dict[str, list[str]] = {}
        for each in totals:
            gone = self.root / "gone" / each.guest
            counted = _count(gone if gone.exists() else self.host(host) / "guests" / each.guest)
            stored = sum(row.count for row in each.exits)
            found[each.guest] = [] if counted == stored else [f"{each.guest}: {counted} counted, {stored} stored"]
        return found


class LocalBench:
    """See harness.campaign.protocol.Bench."""

    def __init__(self, lab: LocalLab, host: str) -> None:
        self._lab = lab
        self._host = host
        self._place = lab.host(host)

    def prepare(self, stack: str, stacks: Sequence[str], folder: Path, tell: Tell) -> None:
        """What was installed is a file with the stacks' names, which holds for what the whole campaign needs."""
        self._lab.called("prepare", self._host)
        there = self._place / "provisioned.json"
        had = json.loads(there.read_text()) if there.exists() else []
        if stack in had:
            return
        self._lab.log(f"provision {self._host} {' '.join(name for name in stacks if name not in had)}")
        _replace(there, json.dumps(sorted({*had, *stacks})))

    def boot(self, stack: str, tell: Tell, *, fresh: bool) -> float:
        self._lab.called("boot", self._host)
        assert stack in json.loads((self._place / "provisioned.json").read_text())
        return self._lab.boot(self._host, stack, fresh=fresh)

    def state(self) -> HostState:
        self._lab.called("state", self._host)
        found = json.loads((self._place / "boot.json").read_text())
        return HostState(found["boot_id"], found["stack"], tuple(found.get("lost", ())))

    def fingerprint(self, vcpus: int, memory_mib: int) -> Fingerprint:
        stack = json.loads((self._place / "boot.json").read_text())["stack"]
        return make_fingerprint(self._host, {"kernel.cmdline": f"nohype.stack={stack}", "guest.vcpus": str(vcpus)})

    def ask(self, guest: Guest) -> Mapping[str, str]:
        self._lab.called("ask", self._host)
        return {"guest.clocksource": "tsc"}

    def exits(self) -> ExitReading:
        self._lab.called("exits", self._host)
        guests = {folder.name: (ExitCount(0, "hlt", _count(folder)),) for folder in (self._place / "guests").iterdir()}
        return ExitReading(time.monotonic(), 0, guests)

    def guests(self) -> tuple[Guest, ...]:
        self._lab.called("guests", self._host)
        return tuple(self._guest(folder.name) for folder in sorted((self._place / "guests").iterdir()))

    def create(self, stack: str, name: str, vcpus: int, memory_mib: int) -> Guest:
        self._lab.called("create", self._host)
        running = [guest.name for guest in self.guests() if guest.state == "running"]
        if running:
            raise errors.GuestError(f"there is no room: {running} run")
        folder = self._lab.root / f"new-{name}"
        folder.mkdir()
        (folder / "counter").write_text("." * 7)  # its boot
        (folder / "stack").write_text(stack)
        (folder / "running").touch()
        folder.rename(self._place / "guests" / name)  # whole or not at all; fails where the name was used
        self._lab.log(f"create {self._host} {name}")
        return self._guest(name)

    def await_guest(self, guest: Guest, seconds: float) -> float:
        self._lab.called("await_guest", self._host)
        return 0.1

    def destroy(self, guest: Guest) -> None:
        self._lab.called("destroy", self._host)
        (self._place / "guests" / guest.name / "running").unlink(missing_ok=True)

    def run(
        self, workload: Workload, guest: Guest, seconds: int, folder: Path, at_border: Callable[[], None]
    ) -> WorkloadResult:
        self._lab.called("run", self._host)
        self._lab.log(f"run {folder.parent.name}/{folder.name}")
        assert workload.command
        at_border()
        start = time.monotonic()
        counter = str(self._place / "guests" / guest.name / "counter")
        argv = [word.format_map({"seconds": seconds}) for word in workload.command]
        done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "COUNTER": counter}, check=False)
        at_border()
        write_text(folder / "output.txt", done.stdout)
        if done.returncode:
            raise errors.WorkloadError(f"{argv[0]} ended with status {done.returncode}")
        return WorkloadResult(time.monotonic() - start, parse(workload, done.stdout))

    def keep_console(self, guest: Guest, folder: Path) -> None:
        path = folder / f"console-{guest.name}.log"
        if not path.exists():
            write_text(path, "login:\n")

    def keep_log(self, folder: Path) -> None:
        write_text(folder / "dmesg.txt", "kernel log\n")

    def close(self) -> None:
        pass

    def _guest(self, name: str) -> Guest:
        folder = self._place / "guests" / name
        state = "running" if (folder / "running").exists() else "stopped"
        stack = (folder / "stack").read_text()
        return Guest(name, stack, state, "127.0.0.1", "", "", "", (0,), (), 64, 0.0, "", str(folder / "console"))


def _replace(path: Path, text: str) -> None:
    part = path.with_suffix(".new")
    part.write_text(text)
    part.replace(path)


def _count(guest: Path) -> int:
    return (guest / "counter").stat().st_size
