"""A laboratory in a temporary folder, and controllers as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import local_controller
from forked import Forked
from processes import bound_to_us

from harness.results.store import Store
from harness.wait import until

NOHYPE = (sys.executable, "-c", "from harness.cli import main; main()")
# Makes its counter longer by 3, takes a moment, prints a figure.
COUNTING = r"""
name: NAME
title: Counting
description: For tests.
command: [sh, -c, 'printf xxx >>"$COUNTER"; MOMENT; printf "figure: 42\n"']
metrics:
  - {name: figure, unit: "1", direction: higher, parse: {regex: 'figure: (\d+)'}}
"""
BOOT = """
name: boot
title: Boot
description: For tests.
runs: boot
metrics:
  - {name: start_to_ssh, unit: s, direction: lower, parse: {json: start_to_ssh}}
"""
CAMPAIGN = """
name: test
hosts: all
stacks: [kvm, kvm-tuned]
boots: 2
seed: 7
guest: {vcpus: 1, memory_mib: 64}
workloads:
  - {name: boot, repeats: 2}
  - {name: one, repeats: 2}
  - {name: two}
"""


@dataclass
class Laboratory:
    """`root` holds the hosts, `state` what the harness keeps; `processes` are those that were started."""

    root: Path
    state: Path
    file: Path
    processes: list[Forked | subprocess.Popen[str]] = field(default_factory=list)

    def workloads(self, moment: str = "sleep 0.05") -> None:
        """Write the workload files; `moment` is what a trial's program waits for."""
        (self.root / "workloads").mkdir(parents=True, exist_ok=True)
        for name in ("one", "two"):
            text = COUNTING.replace("NAME", name).replace("MOMENT", moment)
            (self.root / "workloads" / f"{name}.yml").write_text(text)
        (self.root / "workloads" / "boot.yml").write_text(BOOT)

    def controller(self, *campaign: str, **options: object) -> Forked:
        """Start a controller; it ends by itself, or by being killed."""
        process = Forked(local_controller.main, str(self.root), str(self.file), json.dumps(options), *campaign)
        self.processes.append(process)
        return process

    def begun(self, *campaign: str) -> tuple[Forked, str]:
        """A controller that has told its campaign's id, and that id."""
        process = self.controller(*campaign)
        return process, process.stdout.readline().strip()

    def under_way(self, *, runs: int) -> tuple[Forked, str]:
        """As `begun`, once so many workloads were begun."""
        process, campaign = self.begun()
        until(lambda: len(self.calls("run")) >= runs, seconds=60, what=f"run {runs}", interval=0.01)
        return process, campaign

    @contextmanager
    def held(self) -> Iterator[None]:
        """No trial of a workload comes to its end within the block, however slow what happens there is."""
        gate = self.root / "gate"
        # A controller that is killed leaves the program behind; so that it ends, it asks for that as well.
        self.workloads(f"while [ ! -e {gate} ] && kill -0 $PPID; do sleep 0.05; done")
        try:
            yield
        finally:
            gate.touch()

    def run(self, *campaign: str, **options: object) -> subprocess.CompletedProcess[str]:
        """A controller to its end."""
        process = self.controller(*campaign, **options)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.wait(), out, err)

    def nohype(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line itself."""
        argv = bound_to_us([*NOHYPE, *words])
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)

    def command(self, *words: str) -> subprocess.Popen[str]:
        """The command line, which goes on beside the test. It hears Ctrl-C even where tests run in the background."""
        pipe = subprocess.PIPE
        argv = bound_to_us(["env", "--default-signal=INT", *NOHYPE, *words])
        process = subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True)
        self.processes.append(process)
        return process

    def end(self) -> None:
        """Kill what still runs: nothing, unless a test has failed."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def store(self) -> Store:
        return Store()

    def calls(self, word: str) -> list[str]:
        """What was called, without the process ids."""
        log = self.root / "calls.log"
        lines = [line.split(" ", 1)[1] for line in log.read_text().splitlines()] if log.exists() else []
        return [line for line in lines if line.startswith(f"{word} ")]

    def running_guests(self) -> list[str]:
        return [str(path.parent.name) for path in self.root.glob("*/guests/*/running")]

    def folder(self, campaign: str) -> Path:
        return self.state / "artifacts" / campaign
