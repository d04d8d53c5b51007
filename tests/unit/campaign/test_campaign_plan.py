"""The plan: random, repeatable, balanced."""

from __future__ import annotations

import json
from collections import Counter

from harness.campaign.plan import Plan, Use, from_document, make_plan, to_document

USES = (Use("boot", 0, 2, True), Use("idle", 10, 3, False), Use("cpu", 5, 3, False), Use("memory", 5, 1, False))


def plan(seed: int = 1, boots: int = 4) -> Plan:
    return make_plan("c", seed, hosts=["a", "b"], stacks=["kvm", "kvm-tuned"], boots=boots, uses=USES)


def test_the_seed_decides() -> None:
    assert plan(1) == plan(1)
    assert len({plan(seed).blocks for seed in range(10)}) == 10


def test_every_round_boots_every_host_once_into_every_stack() -> None:
    blocks = plan().blocks
    assert [block.number for block in blocks] == list(range(1, 17))
    for boot in range(1, 5):
        one_round = blocks[(boot - 1) * 4 : boot * 4]
        assert {block.boot for block in one_round} == {boot}
        assert len({(block.host, block.stack) for block in one_round}) == 4
    orders = {tuple((block.host, block.stack) for block in blocks[start : start + 4]) for start in (0, 4, 8, 12)}
    assert len(orders) > 1


def test_boots_come_first_and_repeats_are_spread_over_the_block() -> None:
    orders = set()
    for block in plan(boots=20).blocks:
        names = [(trial.workload, trial.repeat) for trial in block.trials]
        assert names[:2] == [("boot", 1), ("boot", 2)]
        assert set(names[2:5]) == {("idle", 1), ("cpu", 1), ("memory", 1)}
        assert set(names[5:7]) == {("idle", 2), ("cpu", 2)}
        assert set(names[7:9]) == {("idle", 3), ("cpu", 3)}
        assert [trial.order for trial in block.trials] == list(range(1, 10))
        orders.add(tuple(names))
    assert len(orders) > 10


def test_each_order_of_stacks_is_as_likely() -> None:
    first = Counter(make_plan("c", seed, hosts=["a"], stacks=["kvm", "kvm-tuned"], boots=1, uses=USES).blocks[0].stack
                    for seed in range(1000))  # fmt: skip
    assert 430 < first["kvm"] < 570  # 4.4 standard deviations


def test_ids_are_stable_and_unique() -> None:
    made = plan()
    assert made.blocks[0].id == "c.b01"
    assert made.blocks[0].trials[8].id == "c.b01.t09"
    assert len({trial.id for block in made.blocks for trial in block.trials}) == made.trials == 16 * 9


def test_a_plan_survives_json() -> None:
    made = plan()
    assert from_document(json.loads(json.dumps(to_document(made)))) == made
