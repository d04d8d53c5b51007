"""Run campaigns to their end, from wherever they are."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from dbos import DBOS, DBOSClient, SetWorkflowID

from harness.campaign import folder as folders
from harness.campaign.events import CampaignBegun, CampaignEnded, Doing
from harness.campaign.flow import LOOK_SECONDS, QUEUE, CampaignFlow
from harness.campaign.register import CANCELLED, DONE, INTERRUPTED, RUNNING, Outcome, outcome
from harness.campaign.run import Run, Stopped
from harness.errors import UnavailableError
from harness.paths import state_dir
from harness.results.database import default_url
from harness.results.model import BlockRecord, Status, TrialRecord

_APPLICATION = "nohype"


def execute(run: Run) -> Outcome:
    """Run the campaign from wherever it is to its end, or until `run.stop` is asked. One at a time in a process.

    Raises UnavailableError where a controller that died holds one of the hosts, and what halted the campaign.
    """
    run.store.set_campaign_status(run.id, RUNNING)
    run.emit(
        CampaignBegun(
            run.id, len(run.plan.blocks), run.plan.trials, len(run.store.trials(run.id)), folder=str(run.folder)
        )
    )
    with _dbos(run.id, run.folder):
        flow = CampaignFlow(run)
        DBOS.launch()
        DBOS.register_queue(
            QUEUE, partition_concurrency=1, polling_interval_sec=LOOK_SECONDS, on_conflict="always_update"
        )
        try:
            _refuse_dead_holders(run)
            if DBOS.get_workflow_status(run.id) is None:
                with SetWorkflowID(run.id):
                    DBOS.start_workflow(flow.campaign)
            with contextlib.suppress(Stopped):
                while _status(run.id) not in ("SUCCESS", "ERROR", "CANCELLED"):
                    run.stop.wait(LOOK_SECONDS)
        except BaseException:
            run.stop.ask()
            raise
        finally:
            flow.at_work.await_idle()
        if run.stop.cancelled:
            DBOS.cancel_workflow(run.id, cancel_children=True)
    return _conclude(run)


def cancel(campaign_id: str) -> None:
    """Take a campaign without a controller out of its hosts' queues, for good. Its guests are not touched here."""
    url = _dbos_url()
    client = DBOSClient(system_database_url=url)
    try:
        if any(found.workflow_id == campaign_id for found in client.list_workflows(workflow_ids=[campaign_id])):
            client.cancel_workflow(campaign_id, cancel_children=True)
    finally:
        client.destroy()


def _conclude(run: Run) -> Outcome:
    if run.stop.error:
        with contextlib.suppress(type(run.stop.error)):
            run.store.set_campaign_status(run.id, INTERRUPTED)
        raise run.stop.error
    status = CANCELLED if run.stop.cancelled else INTERRUPTED if run.stop.asked() else DONE
    if status == DONE:
        _record_missing(run)
    run.store.set_campaign_status(run.id, status, None if status == INTERRUPTED else datetime.now(UTC))
    found = outcome(run.store, run.id, status)
    run.emit(CampaignEnded(run.id, status, found.trials, found.failed, len(found.disagreements)))
    return found


def _record_missing(run: Run) -> None:
    """Trials of blocks that ended with an error of the harness itself: they failed, and are not just absent."""
    stored = {trial.id for trial in run.store.trials(run.id)}
    for block in run.plan.blocks:
        missing = [trial for trial in block.trials if trial.id not in stored]
        if not missing:
            continue
        run.store.add_block(BlockRecord(block.id, run.id, block.number, block.host, block.stack, "", "", 0.0))
        now = datetime.now(UTC)
        for trial in missing:
            run.store.add_trial(
                TrialRecord(
                    id=trial.id,
                    campaign_id=run.id,
                    block_id=block.id,
                    host=block.host,
                    stack=block.stack,
                    workload=trial.workload,
                    repeat=trial.repeat,
                    order=trial.order,
                    status=Status.FAILED,
                    failure=f"was not run: internal error in block {block.number}, see engine.log",
                    guest="",
                    boot_id="",
                    fingerprint="",
                    fidelity=run.record.fidelity,
                    started_at=now,
                    ended_at=now,
                    seconds=0.0,
                    overhead_seconds=0.0,
                    metrics=(),
                    exits=(),
                    exits_dropped=0,
                    artifacts="",
                )
            )


def _refuse_dead_holders(run: Run) -> None:
    """A host is leased to one block at a time. A controller that was killed keeps its lease until it is resumed."""
    hosts = {block.host for block in run.plan.blocks}
    for found in DBOS.list_workflows(queue_name=QUEUE, status="PENDING", load_input=False, load_output=False):
        host, holder = found.queue_partition_key or "", found.executor_id or ""
        if host not in hosts or holder == run.id:
            continue
        if folders.is_here(holder) and folders.controller(holder) is None:
            raise UnavailableError(
                f"the host is held by campaign {holder}, which was interrupted in the middle of a block",
                where=host,
                fix=f"end that campaign first: nohype campaign resume {holder} (or cancel {holder})",
            )
        run.emit(Doing(host, f"waits until campaign {holder} has ended its block"))


def _status(workflow_id: str) -> str:
    found = DBOS.get_workflow_status(workflow_id)
    return found.status if found else ""


def _dbos_url() -> str:
    """DBOS keeps its own tables: in a file of its own, or in a schema of its own of the same PostgreSQL."""
    url = default_url()
    if url.startswith("sqlite"):
        return f"sqlite:///{state_dir() / 'dbos.sqlite'}"
    return url


class _QuietLog(logging.FileHandler):
    """A log that cannot be written is no reason to print tracebacks."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        pass


@contextlib.contextmanager
def _dbos(campaign_id: str, folder: Path) -> Iterator[None]:
    """DBOS configured for one campaign.

    The campaign's id stands for the executor and the version: a controller recovers and dequeues its own workflows and
    never those of another campaign, though all share the queue.
    """
    log = _QuietLog(folder / "engine.log", delay=True)
    log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("dbos")
    logger.handlers[:] = [log]  # DBOS adds its own, to stderr, only where there is none
    logger.propagate = False
    url = _dbos_url()
    try:
        DBOS(
            config={
                "name": _APPLICATION,
                "system_database_url": url,
                "application_version": f"{folders.FLOW_VERSION}/{campaign_id}",
                "executor_id": campaign_id,
                "enable_otlp": False,
                "log_level": "WARNING",
                "notification_listener_polling_interval_sec": LOOK_SECONDS,
            }
        )
        yield
    finally:
        DBOS.destroy()
        log.close()
        logger.handlers.clear()
