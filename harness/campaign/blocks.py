"""One block: a host is booted into a stack, trials run in guests on it, and everything is cleared away.

Each method may be run again after a crash of the controller at any point: what is stored stays, the host is brought
back into the state that is needed.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from harness.campaign import care
from harness.campaign.events import BlockBegun, BlockEnded, Doing, Warned
from harness.campaign.plan import PlannedBlock
from harness.campaign.protocol import Bench
from harness.campaign.run import Run
from harness.errors import (
    CommandError,
    GuestError,
    HarnessError,
    HostError,
    HostKeyError,
    HostUnreachableError,
    StorageError,
)
from harness.exits.model import ExitReading
from harness.guests.model import Guest
from harness.hosts.discover import make_fingerprint
from harness.results.artifacts import storing, write_json
from harness.results.model import BlockRecord, GuestTotals, NoteKind

# A guest that did not boot twice in a row will not the third time; each try takes as long as the deadline.
_GUEST_TRIES = 2


class Block:
    """The state of a running block. Lost with the controller, and found again by `ready`."""

    def __init__(self, run: Run, planned: PlannedBlock) -> None:
        self.run = run
        self.planned = planned
        self.boot_id = ""
        self.fingerprint = ""
        self.guest: Guest | None = None
        self.bench: Bench | None = None
        self._dropped = 0
        self._guest_failures = 0
        self._guest_failure = ""
        self._known: dict[str, str] = {}  # the facts of the fingerprint
        self._asked = False  # whether a guest of this boot of the host was asked for its own
        self._resumed = True  # until it is known that no controller before us worked on this block

    @property
    def folder(self) -> Path:
        return self.run.folder / "blocks" / self.planned.folder

    @property
    def guest_name(self) -> str:
        return self.guest.name if self.guest else ""

    def begin(self) -> None:
        """Boot the host into the stack and record the block; where that fails, record why.

        The trials of such a block fail with that reason.
        """
        run, planned = self.run, self.planned
        run.check_stop()
        if run.store.block(planned.id):
            return
        run.emit(BlockBegun(planned.number, planned.host, planned.stack, len(planned.trials)))
        try:
            with storing(self.folder):
                self._resumed = self.folder.exists()
                self.folder.mkdir(parents=True, exist_ok=True)
            self._await_reboot()
            self._begin_once_more_after_power_cycle()
        except HarnessError as error:
            run.check_stop()  # a playbook that was cancelled is no failure
            self._give_up_bench()
            run.note(NoteKind.BLOCK_FAILED, planned.id, f"{planned.host}: {planned.stack}: {error}")
            run.store.add_block(
                BlockRecord(planned.id, run.id, planned.number, planned.host, planned.stack, "", "", 0.0)
            )

    def ready(self) -> Bench:
        """The host in the block's stack, without guests left by a killed controller.

        Raises HarnessError: QuarantinedError, and whatever keeps the host from getting there.
        """
        care.refuse_quarantined(self.run, self.planned.host)
        if self.bench:
            return self.bench
        run, planned = self.run, self.planned
        failure = run.noted(NoteKind.BLOCK_FAILED, planned.id)
        if failure:
            raise HostError(f"the block could not begin: {failure}")
        record = run.store.block(planned.id)
        assert record is not None
        self._await_reboot()
        self._tell("looking for where it was left")
        bench = run.lab.open(planned.host)
        try:
            self._resume(bench, record)
        except BaseException:
            bench.close()
            raise
        self.bench = bench
        return bench

    def shared_guest(self, seconds_for_boot: float) -> Guest:
        """The guest that the block's trials share, made where there is none.

        Raises GuestError, at once where several guests in a row did not boot, and as `ready`.
        """
        bench = self.ready()
        if self.guest:
            return self.guest
        if self._guest_failures >= _GUEST_TRIES:
            raise GuestError(f"guests of this block do not boot; the last one: {self._guest_failure}")
        guest = self.create("s")
        self._tell(f"guest {guest.name} boots")
        try:
            bench.await_guest(guest, seconds_for_boot)
        except GuestError as error:
            self.guest_failed(error)
            raise
        self.guest_booted()
        return guest

    def create(self, purpose: str) -> Guest:
        """Start a guest with a name never used before; it becomes the block's guest."""
        run, size = self.run, self.run.spec.guest
        bench = self.ready()
        self.drop_guest()
        name = f"{run.tag}-b{self.planned.number}-{purpose}-{secrets.token_hex(2)}"
        self._tell(f"start guest {name}")
        try:
            self.guest = bench.create(self.planned.stack, name, size.vcpus, size.memory_mib)
        except GuestError as error:
            self.guest_failed(error)
            raise
        return self.guest

    def guest_failed(self, error: GuestError) -> None:
        """Count a guest that did not come up, so that not every trial waits for another one."""
        self._guest_failures += 1
        self._guest_failure = error.what

    def guest_booted(self) -> None:
        """The block's guest answers; the first one in each boot of the host is asked what it is.

        Raises GuestError where it does not tell.
        """
        self._guest_failures = 0
        if not self._asked and self.bench and self.guest:
            self._tell(f"guest {self.guest.name} tells what it is")
            self._record({**self._known, **self.bench.ask(self.guest)})
            self._asked = True

    def drop_guest(self) -> None:
        """End the block's guest, if there is one, and keep its console and final counters."""
        guest, self.guest = self.guest, None
        if guest is None or self.bench is None:
            return
        self._end_guest(self.bench, guest)

    def exits(self) -> tuple[ExitReading, int]:
        """The counters, and how many exits went uncounted since the last time."""
        reading = self.ready().exits()
        dropped = max(reading.dropped - self._dropped, 0)
        self._dropped = reading.dropped
        return reading, dropped

    def host_lost(self, error: HarnessError) -> None:
        """The host does not answer: power-cycle it, or give it up."""
        self._give_up_bench()
        care.host_lost(self.run, self.planned.host, error)

    def end(self) -> None:
        """Clear the host, and see whether Prometheus counted what was counted here."""
        run, planned = self.run, self.planned
        try:
            self._end()
        except HarnessError as error:
            if isinstance(error, HostUnreachableError | HostKeyError):
                self.host_lost(error)
            run.note(NoteKind.WARNING, planned.id, f"{planned.host}: the end of block {planned.number}: {error}")
        self._give_up_bench()
        run.emit(BlockEnded(planned.number, planned.host, planned.stack))

    def abandon(self) -> None:
        """The campaign stops here: leave no guest behind."""
        run, planned = self.run, self.planned
        if run.store.block(planned.id) is None or run.noted(NoteKind.QUARANTINED, planned.host) is not None:
            return self._give_up_bench()
        try:
            bench = self.bench = self.bench or run.lab.open(planned.host)
            self._tell("ending its guests")
            self._clear(bench)
        except HarnessError as error:
            run.emit(Warned(planned.host, f"could not be cleared of guests: {error}"))
        return self._give_up_bench()

    def _begin_once_more_after_power_cycle(self) -> None:
        try:
            self._boot()
        except care.QuarantinedError:
            raise
        except HostError as error:
            lost = isinstance(error, HostUnreachableError | HostKeyError) or not care.answers(
                self.run, self.planned.host
            )
            if not lost:
                raise
            self.host_lost(error)
            self._boot()

    def _await_reboot(self) -> None:
        """A controller that was killed may have left the host in the middle of a reboot: that is no fault of its."""
        if self._resumed and self.bench is None:
            self._tell("waiting until it answers")
            care.await_answer(self.run, self.planned.host)
        self._resumed = False

    def _boot(self) -> None:
        run, planned = self.run, self.planned
        care.refuse_quarantined(self.run, self.planned.host)
        bench = self.bench = run.lab.open(planned.host)
        bench.prepare(planned.stack, run.spec.stacks, self.folder, self._tell)
        run.check_stop()
        ready_seconds = bench.boot(planned.stack, self._tell, fresh=True)
        run.check_stop()
        self._identify(bench)
        self._dropped = bench.exits().dropped
        identity = (planned.id, run.id, planned.number, planned.host, planned.stack)
        run.store.add_block(BlockRecord(*identity, self.boot_id, self.fingerprint, ready_seconds))

    def _resume(self, bench: Bench, record: BlockRecord) -> None:
        """Bring the host back into the block's stack, without guests: a killed controller left it somewhere."""
        run, planned = self.run, self.planned
        bench.prepare(planned.stack, run.spec.stacks, self.folder, self._tell)  # it may have been installed anew
        state = bench.state()
        if (state.boot_id, state.stack, state.lost) == (record.boot_id, planned.stack, ()):
            self.boot_id, self.fingerprint = record.boot_id, record.fingerprint
            kept = [found for found in run.store.fingerprints(run.id) if found.digest == record.fingerprint]
            self._known = dict(kept[0].facts)
        else:  # somebody rebooted it, power was cut, or a core was lost: the rest of the block runs in another boot
            bench.boot(planned.stack, self._tell, fresh=bool(state.lost))
            self._identify(bench)
        self._clear(bench)
        self._dropped = bench.exits().dropped

    def _identify(self, bench: Bench) -> None:
        size = self.run.spec.guest
        self.boot_id, self._asked = bench.state().boot_id, False
        self._record(dict(bench.fingerprint(size.vcpus, size.memory_mib).facts))

    def _record(self, facts: dict[str, str]) -> None:
        """Make these facts the block's fingerprint from now on."""
        fingerprint = make_fingerprint(self.planned.host, facts)
        self._known, self.fingerprint = facts, fingerprint.digest
        self.run.store.add_fingerprint(fingerprint)
        write_json(self.folder / f"fingerprint-{self.fingerprint[:12]}.json", facts)

    def _end(self) -> None:
        run, planned = self.run, self.planned
        if run.noted(NoteKind.QUARANTINED, planned.host) is not None:
            return
        self.drop_guest()
        if self.bench is None and run.noted(NoteKind.BLOCK_FAILED, planned.id) is None:
            self.ready()  # ends what a killed controller left
        begins = f"{run.tag}-b{planned.number}-"
        unasked = [
            totals
            for totals in run.store.guest_totals(run.id)
            if totals.host == planned.host
            and totals.guest.startswith(begins)
            and run.noted(NoteKind.PROMETHEUS, f"{totals.host}/{totals.guest}") is None
        ]
        if not unasked:
            return
        self._tell("asking Prometheus")
        for guest, lines in run.lab.disagreements(planned.host, unasked).items():
            run.note(NoteKind.PROMETHEUS, f"{planned.host}/{guest}", "\n".join(lines))

    def _clear(self, bench: Bench) -> None:
        """End every guest of the host; of this campaign's, keep what they counted."""
        known = {totals.guest for totals in self.run.store.guest_totals(self.run.id)}
        for guest in bench.guests():
            if guest.state == "running" or (guest.name.startswith(f"{self.run.tag}-") and guest.name not in known):
                self._end_guest(bench, guest)

    def _end_guest(self, bench: Bench, guest: Guest) -> None:
        bench.destroy(guest)
        if not guest.name.startswith(f"{self.run.tag}-"):
            return  # somebody else's, on a host that is the campaign's
        reading = bench.exits()
        host, stack = self.planned.host, guest.stack
        self.run.store.add_guest_totals(
            GuestTotals(self.run.id, host, stack, guest.name, reading.of(guest.name), datetime.now(UTC))
        )
        try:
            bench.keep_console(guest, self.folder)
        except (StorageError, CommandError) as error:
            self.run.emit(Warned(host, f"the console of guest {guest.name} was not kept: {error.what}"))

    def _give_up_bench(self) -> None:
        bench, self.bench, self.guest = self.bench, None, None
        if bench:
            bench.close()

    def _tell(self, text: str, detail: str = "") -> None:
        self.run.emit(Doing(self.planned.host, text, detail))
