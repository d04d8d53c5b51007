"""The command line on a rack of the tests' own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.hosts.inventory import load_inventory
from harness.hosts.model import Host
from harness.paths import cache_dir, repo_root

HOST = "rack1"
STACKS = ("kvm", "kvm-tuned", "nohype")  # of the campaigns
PROVISIONED = (*STACKS, "xen-tuned", "bare")
# KASAN and lockdep keep books on all memory: with them guests do not boot in what is enough otherwise.
SCALE = 3 if os.environ.get("NOHYPE_KERNEL") == "debug" else 1
GUEST_MIB = 256 * SCALE
# Not the network of `nohype rack up`: a rack that is up stays as it is.
RACK = f"""\
network: 20
hosts:
  - name: rack1
    cores: 4
    memory_mib: {3072 * SCALE}
    vfs: 2
    isolated_cores: 2
    hugepages_2m: {320 * SCALE}
"""


@dataclass(frozen=True)
class Nohype:
    """The command line, with a state folder of its own."""

    state: Path
    home: str = ""  # "": whoever runs the tests'

    @property
    def environment(self) -> Mapping[str, str]:
        own = {"NOHYPE_STATE": str(self.state), "NOHYPE_CACHE": str(cache_dir()), "COLUMNS": "160"}
        return {**os.environ, **own, **({"HOME": self.home} if self.home else {})}

    @property
    def argv(self) -> list[str]:
        return [str(Path(sys.executable).parent / "nohype")]

    @property
    def host(self) -> Host:
        return load_inventory(self.state / "rack" / "inventory" / "hosts.yml").select(HOST)[0]

    @contextmanager
    def started(self, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
        """The command runs within the block; it does not outlive it."""
        with subprocess.Popen(
            [*self.argv, *map(str, words)],
            env=self.environment,
            cwd=repo_root(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def __call__(self, *words: str | Path, code: int = 0, seconds: float = 600) -> str:
        done = subprocess.run(
            [*self.argv, *map(str, words)],
            env=self.environment,
            cwd=repo_root(),
            text=True,
            capture_output=True,
            timeout=seconds,
        )
        assert done.returncode == code, f"nohype {words} ended with {done.returncode}\n{done.stderr}\n{done.stdout}"
        return done.stdout if code == 0 else done.stderr

    def boot(self, stack: str) -> None:
        """Have the host in `stack`, without running guests: as it is, from a snapshot of an earlier boot, or booted.

        A restore takes 4 s, a boot 20 to 60.
        """
        found = self.json("hosts")
        able = found[0]["capabilities"] if isinstance(found, list) else {}
        if able.get("stack") == stack:
            self("guest", "destroy", HOST, "--all")
        elif stack in (self.state / "snapshots").read_text().split():
            self("rack", "restore", HOST, stack)
        else:
            self("hosts", "boot", HOST, "--stack", stack)
            self("rack", "save", HOST, stack)
            with (self.state / "snapshots").open("a") as file:
                file.write(f"{stack}\n")

    def json(self, *words: str | Path, code: int = 0) -> object:
        done = subprocess.run(
            [*self.argv, *map(str, words), "--json"],
            env=self.environment,
            cwd=repo_root(),
            text=True,
            capture_output=True,
            timeout=600,
        )
        assert done.returncode == code, f"nohype {words} ended with {done.returncode}\n{done.stderr}\n{done.stdout}"
        return json.loads(done.stdout)


def stack_options(stacks: Iterable[str]) -> list[str]:
    """--stack for each of them."""
    return [word for stack in stacks for word in ("--stack", stack)]


def leftovers(state: Path) -> list[str]:
    """Processes and mounts that belong to a rack, and its folder."""
    marker = str(state / "rack")
    found = [marker] if (state / "rack").exists() else []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            mounts = (process / "mounts").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if marker in words:
            found.append(words)
        if marker in mounts:
            found.append(f"mounts of {words}")
    return found
