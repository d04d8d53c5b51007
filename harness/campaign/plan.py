"""From a campaign's size to its blocks and trials, in random order. Nothing here but arithmetic."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Use:
    """A workload as the plan needs it. `boots`: each trial boots a guest of its own."""

    workload: str
    seconds: int
    repeats: int
    boots: bool


@dataclass(frozen=True)
class PlannedTrial:
    id: str
    order: int  # position inside the block, from 1
    workload: str
    repeat: int  # from 1
    seconds: int  # 0 for boots


@dataclass(frozen=True)
class PlannedBlock:
    """One boot of one host into one stack."""

    id: str
    number: int  # from 1; blocks of one host run in this order
    host: str
    stack: str
    boot: int  # the how-manieth boot of this host into this stack, from 1
    trials: tuple[PlannedTrial, ...]

    @property
    def folder(self) -> str:
        return f"b{self.number:02}-{self.host}-{self.stack}"


@dataclass(frozen=True)
class Plan:
    campaign_id: str
    seed: int
    blocks: tuple[PlannedBlock, ...]

    @property
    def trials(self) -> int:
        return sum(len(block.trials) for block in self.blocks)


def make_plan(
    campaign_id: str, seed: int, *, hosts: Sequence[str], stacks: Sequence[str], boots: int, uses: Sequence[Use]
) -> Plan:
    """The same arguments give the same plan.

    Each round boots every host once into each stack, in random order: whatever drifts hits all stacks alike. In a
    block, boots of guests come first, as the last of these guests serves the other trials; those are shuffled round by
    round, so that repeats of a workload are spread over the block.
    """
    chance = random.Random(seed)  # noqa: S311 - it must be repeatable, not secret
    blocks: list[PlannedBlock] = []
    for boot in range(1, boots + 1):
        round_of_blocks = [(host, stack) for host in hosts for stack in stacks]
        chance.shuffle(round_of_blocks)
        for host, stack in round_of_blocks:
            number = len(blocks) + 1
            identity = f"{campaign_id}.b{number:02}"
            blocks.append(PlannedBlock(identity, number, host, stack, boot, _trials(identity, uses, chance)))
    return Plan(campaign_id, seed, tuple(blocks))


def _trials(block_id: str, uses: Sequence[Use], chance: random.Random) -> tuple[PlannedTrial, ...]:
    order = [(use, repeat) for use in uses if use.boots for repeat in range(1, use.repeats + 1)]
    others = [use for use in uses if not use.boots]
    for repeat in range(1, max((use.repeats for use in others), default=0) + 1):
        one_round = [(use, repeat) for use in others if repeat <= use.repeats]
        chance.shuffle(one_round)
        order += one_round
    return tuple(
        PlannedTrial(f"{block_id}.t{place:02}", place, use.workload, repeat, use.seconds)
        for place, (use, repeat) in enumerate(order, start=1)
    )


def to_document(plan: Plan) -> dict[str, object]:
    """The plan as plain JSON."""
    return asdict(plan)


def from_document(document: Mapping[str, object]) -> Plan:
    """The plan in what `to_document` gave. Raises KeyError and TypeError where it is something else."""
    blocks = document["blocks"]
    assert isinstance(blocks, list | tuple)
    return Plan(
        campaign_id=str(document["campaign_id"]),
        seed=int(str(document["seed"])),
        blocks=tuple(
            PlannedBlock(**{**block, "trials": tuple(PlannedTrial(**trial) for trial in block["trials"])})
            for block in blocks
        ),
    )
