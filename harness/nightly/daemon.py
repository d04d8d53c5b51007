"""The controller of nightlies: DBOS schedules that start nights in processes of their own.

DBOS keeps which nights were due and which of them were seen to, so that none is forgotten or begun twice, whatever
happens to this process. A night runs as a process of its own because a campaign needs a DBOS of its own
(harness/campaign/engine.py), and so that whatever befalls it does not befall the schedule.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from dbos import DBOS

from harness.campaign.at_work import AtWork
from harness.campaign.run import Stop, Stopped
from harness.errors import HarnessError
from harness.nightly.night import is_scheduled, miss, night_record
from harness.nightly.presence import controlling, installed_here
from harness.nightly.schedule import Due, cron, night_of, too_late
from harness.nightly.spec import installed_spec
from harness.paths import state_dir
from harness.results.model import NightStatus
from harness.results.store import Store

LOOK_SECONDS = 20.0  # how often the installed nightlies and the clock are looked at
AGAIN_SECONDS = 300.0  # before a night is gone on with whose process has ended and not the night: disk full, killed
_CHILD_SECONDS = 0.5
_FLOW_VERSION = "1"  # of the workflow below

Argv = Callable[[str, str], Sequence[str]]
Tell = Callable[[str], None]


def serve(
    argv: Argv, tell: Tell, stop: Stop, *, look_seconds: float = LOOK_SECONDS, again_seconds: float = AGAIN_SECONDS
) -> None:
    """Start each night of this control node's nightlies when it is due, until `stop` is asked.

    `argv` is the command that runs a night, given the nightly's name and the night. It is told to end with SIGTERM.
    Raises UnavailableError where another controller is there.
    """
    nights = _Nights(argv, tell, stop, again_seconds)

    @DBOS.workflow(name="night", max_recovery_attempts=None)
    def night(scheduled: datetime, name: str) -> None:
        nights.see_to(name, scheduled)

    with controlling(), _dbos():
        try:
            while True:
                try:
                    _look(night, tell)
                except HarnessError as error:  # no space, no database: that passes
                    tell(f"cannot look at the nightlies: {error}")
                stop.wait(look_seconds)
        except Stopped:
            pass
        finally:
            stop.ask()
            nights.at_work.await_idle()


def _look(night: Callable[[datetime, str], None], tell: Tell) -> None:
    """Bring DBOS' schedules in line with what is installed, and have every night seen to that was due.

    DBOS' own scheduler sleeps by a clock that follows no correction of the time of day and stands while the machine is
    suspended. Asking again and again for all that was due until now finds those nights too, and none twice.
    """
    with Store() as store:
        here = {record.name: record for record in installed_here(store)}
        there = {one["schedule_name"]: one for one in DBOS.list_schedules()}
        for name in there.keys() - here.keys():
            DBOS.delete_schedule(name)
            tell(f"{name} is not installed any more")
        for name, record in here.items():
            spec = installed_spec(record)
            now = (there[name]["schedule"], there[name]["cron_timezone"]) if name in there else None
            if now != (cron(spec), spec.zone):
                DBOS.apply_schedules(
                    [
                        {
                            "schedule_name": name,
                            "workflow_fn": night,
                            "schedule": cron(spec),
                            "cron_timezone": spec.zone,
                            "context": name,
                        }
                    ]
                )
                tell(f"{name} is due at {spec.at} {spec.zone} on {', '.join(spec.days)}")
            seen = [one.due_at for one in store.nights(name) if is_scheduled(one) and one.ended_at]
            DBOS.backfill_schedule(name, max([record.installed_at, *seen]), datetime.now(UTC))


class _Nights:
    """Sees to nights that are due, each in a thread of DBOS'."""

    def __init__(self, argv: Argv, tell: Tell, stop: Stop, again_seconds: float) -> None:
        self._argv = argv
        self._tell = tell
        self._stop = stop
        self._again = again_seconds
        self.at_work = AtWork()

    def see_to(self, name: str, scheduled: datetime) -> None:
        """Run the night until it has ended. Raises Stopped, and then it is gone on with by the next controller."""
        with self.at_work.counted():
            while True:
                self._stop.check()
                wait = (scheduled - datetime.now(UTC)).total_seconds()
                if wait > 0:  # the clock was set back
                    self._stop.wait(min(wait, LOOK_SECONDS))
                else:
                    try:
                        night = self._open(name, scheduled)
                        if night:
                            self._run(name, night)
                            night = self._open(name, scheduled)
                        if not night:
                            return
                    except HarnessError as error:  # no space, no database
                        self._tell(f"{name}: {error}")
                    self._stop.wait(self._again)

    def _open(self, name: str, scheduled: datetime) -> str:
        """The night, where it is still to be run; one that cannot begin any more is recorded as missed."""
        with Store() as store:
            record = next((one for one in store.nightlies() if one.name == name), None)
            if record is None:
                return ""
            spec = installed_spec(record)
            due = Due(night_of(spec, scheduled), scheduled.astimezone(UTC))
            night = night_record(store, name, due)
            begun = bool(night.campaign_id)
            if night.status is not NightStatus.RUNNING or (record.removed_at and not begun):
                return ""
            if too_late(spec, due.at, datetime.now(UTC)) and not begun:
                miss(store, name, due, "no controller was running")
                self._tell(f"{name}: the night of {due.night} is missed")
                return ""
            return due.night

    def _run(self, name: str, night: str) -> None:
        # A session of its own: Ctrl-C reaches this process alone, which then passes the wish on, once.
        process = subprocess.Popen(self._argv(name, night), stdin=subprocess.DEVNULL, start_new_session=True)
        self._tell(f"{name}: the night of {night} is run by process {process.pid}")
        try:
            while process.poll() is None:
                self._stop.wait(_CHILD_SECONDS)
        except Stopped:
            process.terminate()
            process.wait()
            raise
        self._tell(f"{name}: process {process.pid} has ended with status {process.returncode}")


@contextlib.contextmanager
def _dbos() -> Iterator[None]:
    """A DBOS whose file is of this control node alone, as its nightlies are, wherever results are kept."""
    try:
        DBOS(
            config={
                "name": "nohype-nightly",
                "system_database_url": f"sqlite:///{state_dir() / 'nightly' / 'dbos.sqlite'}",
                "application_version": _FLOW_VERSION,
                "executor_id": "nightly",
                "enable_otlp": False,
                "log_level": "WARNING",
            }
        )
        DBOS.launch()
        yield
    finally:
        DBOS.destroy()
