"""One trial: run a workload in a guest, count exits meanwhile, and store what came out, good or bad."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.campaign.blocks import Block
from harness.campaign.care import QuarantinedError
from harness.campaign.events import TrialBegun, TrialEnded
from harness.campaign.plan import PlannedTrial
from harness.errors import GuestError, HarnessError, HostError, HostKeyError, HostUnreachableError, StorageError
from harness.exits.model import ExitReading, difference
from harness.results.artifacts import new_folder, write_json, write_text
from harness.results.model import ExitCount, MetricValue, Status, TrialRecord
from harness.workloads.parse import parse


@dataclass(frozen=True)
class Measured:
    """What a trial gave. `busy` is the time that is the workload's or a boot's own, and no overhead of the harness."""

    seconds: float
    busy: float
    metrics: tuple[MetricValue, ...]
    exits: tuple[ExitCount, ...]
    dropped: int


def run_trial(block: Block, planned: PlannedTrial) -> None:
    """Run the trial unless it is stored already; afterwards it is.

    Raises Stopped before it begins where the campaign is to stop, StorageError where it cannot be stored.
    """
    run, place = block.run, block.planned
    if run.store.trial(planned.id):
        return
    run.check_stop()
    run.emit(TrialBegun(planned.id, place.host, place.stack, planned.workload, planned.repeat, planned.seconds))
    began, start = datetime.now(UTC), time.monotonic()
    measured, failure, folder, guest = None, "", None, ""
    try:
        folder = new_folder(block.folder, f"t{planned.order:02}-{planned.workload}-r{planned.repeat}")
        boots = run.workloads[planned.workload].runs == "boot"
        measured = (_boot if boots else _measure)(block, planned, folder)
        if measured.dropped:
            failure = f"{measured.dropped} VM exits were not counted: the kernel's table was full"
        guest = block.guest_name
    except HarnessError as error:
        failure, guest = _told(error), block.guest_name
        _recover(block, error, folder)
    except Exception as error:  # a bug here must not take the campaign's other trials with it
        failure, guest = f"internal error: {type(error).__name__}: {error}", block.guest_name
        with contextlib.suppress(HarnessError):
            write_text(block.run.folder / f"internal-error-{planned.id}.txt", traceback.format_exc())
        _recover(block, HostError(failure), folder)
    wall = time.monotonic() - start
    record = TrialRecord(
        id=planned.id,
        campaign_id=run.id,
        block_id=place.id,
        host=place.host,
        stack=place.stack,
        workload=planned.workload,
        repeat=planned.repeat,
        order=planned.order,
        status=Status.FAILED if failure else Status.OK,
        failure=failure,
        guest=guest,
        boot_id=block.boot_id,
        fingerprint=block.fingerprint,
        fidelity=run.record.fidelity,
        started_at=began,
        ended_at=datetime.now(UTC),
        seconds=measured.seconds if measured else 0.0,
        overhead_seconds=max(wall - measured.busy, 0.0) if measured else wall,
        metrics=measured.metrics if measured else (),
        exits=measured.exits if measured else (),
        exits_dropped=measured.dropped if measured else 0,
        artifacts=str(folder.relative_to(run.folder)) if folder else "",
    )
    run.store.add_trial(record)
    run.emit(
        TrialEnded(
            *(record.id, record.host, record.stack, record.workload, record.status, failure),
            *(record.seconds, record.overhead_seconds, sum(row.count for row in record.exits)),
        )
    )


def _boot(block: Block, planned: PlannedTrial, folder: Path) -> Measured:
    """Boot a guest; it stays, for the trials that come after."""
    run = block.run
    bench = block.ready()
    block.drop_guest()
    asked = time.monotonic()
    guest = block.create("b")
    start = time.monotonic() - asked
    try:
        ssh = bench.await_guest(guest, run.spec.deadlines.guest_boot)
    except GuestError as error:
        block.guest_failed(error)
        raise
    total = start + ssh  # whatever else was looked at when SSH answered is no part of the boot
    reading, dropped = block.exits()
    block.guest_booted()
    figures = {"start_to_ssh": total, "start": start, "kernel_to_ssh": ssh}
    write_json(folder / "output.json", figures)
    exits = reading.of(guest.name)
    _keep_exits(folder, exits)
    metrics = parse(run.workloads[planned.workload], (folder / "output.json").read_text(encoding="utf-8"))
    return Measured(ssh, total, metrics, exits, dropped)


def _measure(block: Block, planned: PlannedTrial, folder: Path) -> Measured:
    """Run a workload in the block's guest.

    `seconds` is the host's own clock from one reading of the counters to the other: the time in which they counted.
    """
    run = block.run
    bench = block.ready()
    asked = time.monotonic()
    guest = block.shared_guest(run.spec.deadlines.guest_boot)
    guest_seconds = time.monotonic() - asked
    readings: list[tuple[ExitReading, int]] = []
    result = bench.run(
        run.workloads[planned.workload], guest, planned.seconds, folder, lambda: readings.append(block.exits())
    )
    (before, _), (after, dropped) = readings
    try:
        exits = difference(before.of(guest.name), after.of(guest.name))
    except ValueError as error:
        raise HostError(f"counters of guest {guest.name}: {error}", where=block.planned.host) from None
    _keep_exits(folder, exits)
    busy = guest_seconds + result.seconds
    return Measured(after.taken_at - before.taken_at, busy, result.metrics, exits, dropped)


def _keep_exits(folder: Path, exits: tuple[ExitCount, ...]) -> None:
    write_json(folder / "exits.json", [[row.vcpu, row.reason, row.count] for row in exits])


def _told(error: HarnessError) -> str:
    return f"{error.where}: {error.what}" if error.where else error.what


def _recover(block: Block, error: HarnessError, folder: Path | None) -> None:
    """After a failure: keep logs, and leave the block so that its next trial has a chance."""
    if isinstance(error, QuarantinedError | StorageError):
        return
    try:
        if not isinstance(error, HostUnreachableError | HostKeyError):
            if folder:
                _keep_logs(block, folder)
            if isinstance(error, GuestError | HostError):
                block.drop_guest()
            return
    except HarnessError as second:
        error = second
    if isinstance(error, HostUnreachableError | HostKeyError):
        block.host_lost(error)


def _keep_logs(block: Block, folder: Path) -> None:
    """The guest's console and the host's kernel log. Raises HostUnreachableError."""
    bench, guest = block.bench, block.guest
    if bench is None:
        return
    steps: list[Callable[[], None]] = [lambda: bench.keep_log(folder)]
    if guest:
        steps.append(lambda: bench.keep_console(guest, folder))
    for step in steps:
        try:
            step()
        except (HostUnreachableError, HostKeyError):
            raise
        except HarnessError as error:
            with contextlib.suppress(StorageError):
                write_text(folder / "log-missing.txt", f"{error}\n")
