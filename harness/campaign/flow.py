"""The durable part: DBOS workflows that survive the death of the controller. No logic of its own.

The campaign is a workflow; its blocks are workflows on one queue partitioned by host, one at a time in each partition.
Begin, trials and end of a block are steps: those that were recorded are not run again.

DBOS alone does not keep two controllers off one host: each dequeues by its own version (engine.py), and two that look
at the same moment both find the partition free. Hence the lease.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dbos import DBOS, DBOSConfiguredInstance, SetEnqueueOptions, SetWorkflowID

from harness.campaign.at_work import AtWork
from harness.campaign.blocks import Block
from harness.campaign.events import Doing
from harness.campaign.run import Run, Stopped
from harness.campaign.trial import run_trial
from harness.errors import StorageError
from harness.results.leases import lease

QUEUE = "nohype-hosts"
LOOK_SECONDS = 0.2  # how often the queue and the blocks' ends are looked for
_ENDED = ("SUCCESS", "ERROR", "CANCELLED")


@DBOS.dbos_class("NohypeCampaign")
class CampaignFlow(DBOSConfiguredInstance):
    """The workflows of one campaign; its id is the name by which recovered workflows find this object again."""

    def __init__(self, run: Run) -> None:
        super().__init__(config_name=run.id)
        self._run = run
        self._blocks = {block.number: Block(run, block) for block in run.plan.blocks}
        self.at_work = AtWork()

    @DBOS.workflow(name="campaign", max_recovery_attempts=None)
    def campaign(self) -> None:
        """Put all blocks into their hosts' queues and wait for them."""
        for block in self._run.plan.blocks:
            options = SetEnqueueOptions(queue_partition_key=block.host, priority=block.number)
            with SetWorkflowID(block.id), options:
                DBOS.enqueue_workflow(QUEUE, self.block, block.number)
        self.await_blocks()

    @DBOS.workflow(name="block", max_recovery_attempts=None)
    def block(self, number: int) -> None:
        """One block from begin to end."""
        planned = self._blocks[number].planned
        with self.at_work.counted(), self._leased(planned.host):
            self.begin(number)
            for trial in planned.trials:
                self.trial(number, trial.order)
            self.end(number)

    @DBOS.step(name="begin")
    def begin(self, number: int) -> None:
        with self._stoppable(number) as block:
            block.begin()

    @DBOS.step(name="trial")
    def trial(self, number: int, order: int) -> None:
        with self._stoppable(number) as block:
            run_trial(block, block.planned.trials[order - 1])

    @DBOS.step(name="end")
    def end(self, number: int) -> None:
        with self._stoppable(number) as block:
            block.end()

    @DBOS.step(name="await_blocks")
    def await_blocks(self) -> None:
        ids = [block.id for block in self._run.plan.blocks]
        while any(
            found.status not in _ENDED
            for found in DBOS.list_workflows(workflow_ids=ids, load_input=False, load_output=False)
        ):
            self._run.stop.wait(LOOK_SECONDS)

    @contextlib.contextmanager
    def _leased(self, host: str) -> Iterator[None]:
        told = False

        def wait() -> None:
            nonlocal told
            if not told:
                self._run.emit(Doing(host, "waits until another campaign has ended its block"))
            told = True
            self._run.stop.wait(LOOK_SECONDS)

        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lease(host, wait))
            except StorageError as error:
                self._run.stop.halt(error)
                raise Stopped from None
            yield

    @contextlib.contextmanager
    def _stoppable(self, number: int) -> Iterator[Block]:
        """When the campaign stops within, the host is left without guests and the step stays undone."""
        block = self._blocks[number]
        try:
            yield block
        except Stopped:
            block.abandon()
            raise
        except StorageError as error:
            self._run.stop.halt(error)
            block.abandon()
            raise Stopped from None
        except Exception:  # a bug: it ends this block, and must not leave guests
            block.abandon()
            raise
