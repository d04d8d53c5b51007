"""Run a playbook with ansible-runner: events come out as TaskEvents, failures as the harness's errors."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import ansible_runner

from harness.errors import DeadlineError, ProvisionError, UnavailableError
from harness.paths import repo_root
from harness.provision.events import failure, translate
from harness.provision.model import (
    CHANGED,
    FAILED,
    OK,
    SKIPPED,
    START,
    UNREACHABLE,
    HostSummary,
    OnEvent,
    PlaybookResult,
    TaskEvent,
)
from harness.provision.sweep import sweep

RUN_SECONDS = 3600.0
# A host that dies in mid-task is given up after this time without an answer (s, tries); mitogen's own is 300 s.
_KEEPALIVE = {"mitogen_ssh_keepalive_interval": 5, "mitogen_ssh_keepalive_count": 6}
# How often ansible-runner looks whether it is to end.
_POLL_SECONDS = 0.5


class _Record:
    """What happened on each host so far; passes events on."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._counts: dict[str, dict[str, int]] = {}
        self._last_failure: dict[str, TaskEvent] = {}
        self._lost: list[str] = []

    def take(self, event: Mapping[str, Any]) -> bool:
        """Called by ansible-runner; False keeps it from writing the event to a file."""
        if event.get("event") == "playbook_on_stats":
            final = event.get("event_data") or {}
            self._lost = [*(final.get("failures") or {}), *(final.get("dark") or {})]
        ours = translate(event)
        if ours:
            if ours.outcome != START:
                counts = self._counts.setdefault(ours.host, {})
                counts[ours.outcome] = counts.get(ours.outcome, 0) + 1
            if ours.outcome in (FAILED, UNREACHABLE):
                self._last_failure[ours.host] = ours
            self._on_event(ours)
        return False

    def failures(self) -> list[TaskEvent]:
        """The last failed task of each host that Ansible's final figures call failed or out of reach."""
        return [self._last_failure[host] for host in dict.fromkeys(self._lost) if host in self._last_failure]

    def summaries(self) -> tuple[HostSummary, ...]:
        return tuple(
            HostSummary(
                host=host,
                ok=counts.get(OK, 0) + counts.get(CHANGED, 0),
                changed=counts.get(CHANGED, 0),
                skipped=counts.get(SKIPPED, 0),
            )
            for host, counts in sorted(self._counts.items())
        )


def run_playbook(
    playbook: Path,
    *,
    inventory: Path,
    limit: str,
    extra_vars: Mapping[str, object],
    artifacts: Path,
    on_event: OnEvent,
    seconds: float = RUN_SECONDS,
    cancelled: Callable[[], bool] = lambda: False,
) -> PlaybookResult:
    """Run `playbook` on the inventory's hosts that match `limit` (Ansible's pattern).

    Ansible's output stays in `artifacts`/PLAYBOOK.log, also after a failure. In the main thread Ctrl-C ends Ansible
    and then raises KeyboardInterrupt; elsewhere `cancelled` is asked twice a second.

    Raises HostUnreachableError, HostKeyError, UnavailableError (login or sudo refused), DeadlineError after `seconds`,
    and ProvisionError for failed tasks, whatever Ansible refuses, and a cancelled run.
    """
    start = time.monotonic()
    record = _Record(on_event)
    artifacts.mkdir(parents=True, exist_ok=True)
    log = _free_name(artifacts, playbook.stem)
    with tempfile.TemporaryDirectory(prefix="nohype-ansible-") as private, _interrupts() as interrupted:
        try:
            run = ansible_runner.run(
                private_data_dir=private,
                ident="run",
                project_dir=str(playbook.parent),
                playbook=str(playbook),
                inventory=str(inventory.absolute()),
                limit=limit,
                extravars={**_KEEPALIVE, **extra_vars},
                envvars=_environment(Path(private)),
                settings={"pexpect_timeout": _POLL_SECONDS, "job_timeout": int(seconds)},
                event_handler=record.take,
                cancel_callback=lambda: interrupted.is_set() or cancelled(),
                quiet=True,
            )
        finally:
            sweep("TMPDIR", private)
        output = Path(private, "artifacts", "run", "stdout")
        if output.exists():
            shutil.copyfile(output, log)
    if interrupted.is_set():
        raise KeyboardInterrupt
    if run.status == "canceled":
        raise ProvisionError("was cancelled", where=playbook.name)
    if run.status == "timeout":
        raise DeadlineError(f"was not done within {seconds:g} s", where=playbook.name, fix=f"see {log}")
    failures = record.failures()
    if failures:
        raise failure(failures)
    summaries = record.summaries()
    if run.status != "successful" or not summaries:
        raise ProvisionError(_complaint(log) or "no host matched", where=playbook.name, fix=f"see {log}")
    return PlaybookResult(summaries, time.monotonic() - start, log)


def _environment(private: Path) -> dict[str, str]:
    """What decides trust and where files go. The rest of the user's environment stays: a vault password file, say."""
    programs = Path(sys.executable).parent
    if not (programs / "ansible-playbook").exists():
        raise UnavailableError(
            "ansible-playbook is not beside this Python", where=str(programs), fix="install with: make setup"
        )
    home = private / "home"
    home.mkdir()
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(private),
        "ANSIBLE_CONFIG": str(repo_root() / "playbooks" / "ansible.cfg"),
        "ANSIBLE_HOME": str(home),
        "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(home),
        # mitogen keeps one Python running on the host, where Ansible starts one for every module: several times
        # faster on an emulated CPU. ansible-core drops such strategies with 2.23; without these two lines all works.
        "ANSIBLE_STRATEGY_PLUGINS": str(_mitogen() / "plugins" / "strategy"),
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_HOST_KEY_CHECKING": "true",  # ansible-runner's own default is false
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_FORCE_COLOR": "false",
    }


def _mitogen() -> Path:
    spec = importlib.util.find_spec("ansible_mitogen")
    if spec is None or not spec.submodule_search_locations:
        raise UnavailableError("the Python package mitogen is not installed", fix="install with: make setup")
    return Path(spec.submodule_search_locations[0])


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Within, Ctrl-C sets the event instead of tearing through ansible-runner, which would leave Ansible behind."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def note(_signum: int, _frame: FrameType | None) -> None:
        pressed.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _free_name(folder: Path, stem: str) -> Path:
    """`stem.log`, or `stem-2.log` and so on where there was a run before."""
    path = folder / f"{stem}.log"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.log"
    return path


def _complaint(log: Path) -> str:
    """What Ansible itself had to say when it did not get as far as a task."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    for number, line in enumerate(lines):
        if line.startswith(("[ERROR]", "ERROR!")):
            return "\n".join(text for text in lines[number : number + 6] if text.strip())
    return "\n".join(text for text in lines[-6:] if text.strip())
