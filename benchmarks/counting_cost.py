#!/usr/bin/env python3
"""What does counting VM exits cost a guest? Runs workload `cpu` in one guest, alternately with and without counters.

The ratio of both (with over without) and its 95 % interval are formed in one run; figures of two runs are not compared.
The host must be booted into a stack. It should be doing nothing else: its counters are switched off and on.

    .venv/bin/python benchmarks/counting_cost.py rack1 --pairs 10 --seconds 10
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness import stacks
from harness.analysis.statistics import effect, mean_of_boots
from harness.cli import guarded
from harness.cli.common import InventoryOption, JsonOption, one_host, out, print_json, step
from harness.errors import UnavailableError
from harness.guests import image, lifecycle
from harness.hosts.discover import capabilities
from harness.hosts.ssh import connect
from harness.report import words
from harness.workloads.run import run
from harness.workloads.spec import load_workloads

if TYPE_CHECKING:
    from harness.hosts.ssh import HostSession

WITH, WITHOUT = "with", "without"
COUNTERS = {WITH: "setup", WITHOUT: "remove"}


@contextmanager
def guest_on(session: HostSession, memory: int, wait: float) -> Iterator[tuple[HostSession, str]]:
    """A guest with one vCPU as the host's stack makes it, and the stack's name; it is gone afterwards."""
    able = capabilities(session)
    if not able.stack:
        fix = f"nohype hosts boot {session.host_name} --stack kvm-tuned"
        raise UnavailableError("the host was not booted into a stack", where=session.host_name, fix=fix)
    if any(guest.state == "running" for guest in lifecycle.list_guests(session)):
        fix = f"nohype guest destroy {session.host_name} --all"
        raise UnavailableError("the host runs guests; their exits would count", where=session.host_name, fix=fix)
    stack, guest_image = stacks.get(able.stack), image.current()
    name = f"bench-{secrets.token_hex(3)}"
    guest = lifecycle.create(session, stack.guest_spec(name, 1, memory, guest_image.digest, able, frozenset()))
    try:
        with step(f"{session.host_name}: guest {name} boots"):
            lifecycle.await_ssh(session, guest, wait)
        with lifecycle.connect(session, guest, guest_image) as inside:
            yield inside, stack.name
    finally:
        lifecycle.destroy(session, name)


def measure(session: HostSession, inside: HostSession, pairs: int, seconds: int) -> dict[str, list[float]]:
    """The guest's rates, by whether exits were counted meanwhile. Afterwards they are, as before."""
    workload = load_workloads()["cpu"]
    rates: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    try:
        for pair in range(pairs):
            # Whatever drifts hits both sides alike: each goes first in every other pair.
            for side in (WITH, WITHOUT) if pair % 2 else (WITHOUT, WITH):
                session.agent("counters", COUNTERS[side])
                with step(f"pair {pair + 1} of {pairs}: {side} counters"), tempfile.TemporaryDirectory() as folder:
                    result = run(
                        workload,
                        guest=inside,
                        host=session,
                        gateway="",
                        vcpus=1,
                        seconds=seconds,
                        artifacts=Path(folder),
                    )
                rates[side].append(result.metrics[0].value)
    finally:
        session.agent("counters", "setup")
    return rates


def main(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host of the inventory, booted into a stack.")],
    pairs: Annotated[int, typer.Option(min=2, help="Runs with counters, and as many without.")] = 10,
    seconds: Annotated[int, typer.Option(min=1, help="Length of a run, on the guest's clock.")] = 10,
    memory: Annotated[int, typer.Option(min=64, metavar="MIB", help="The guest's memory.")] = 512,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="How long the guest may take to boot.")] = 600,
    inventory: InventoryOption = None,
    json: JsonOption = False,
) -> None:
    """Run workload cpu in one guest with exit counters and without, alternately, and print the ratio of its rates."""
    target = one_host(host, inventory)
    with connect(target) as session, guest_on(session, memory, wait) as (inside, stack):
        rates = measure(session, inside, pairs, seconds)
    # The runs are what was repeated: each is a "boot" of its own to the statistics.
    sides = {side: [[rate] for rate in values] for side, values in rates.items()}
    ratio = effect({host: sides[WITH]}, {host: sides[WITHOUT]}, seed=0)
    means = {side: mean_of_boots(values) for side, values in sides.items()}
    if json:
        print_json({"host": host, "stack": stack, "fidelity": target.fidelity, "rates": rates, "ratio": ratio})
        return
    for side, mean in means.items():
        out.print(f"{side:8}counters: {words.number(mean)} events per second, mean of {pairs} runs")
    out.print(f"ratio {words.ratio(ratio)}, 95 % interval {words.interval(ratio)} ({stack}, {target.fidelity})")


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
