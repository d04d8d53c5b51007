"""One emulated rack for the whole session, with a state folder and addresses of its own, driven by the command line.

`nohype`       runs the command: nohype("rack", "status"); .json(...) parses what it prints
`rack`         the rack is up (booting it takes about a minute)
`provisioned`  its host is provisioned for every stack

They need root; images come from the cache or are built on first use.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rack_lab import PROVISIONED, RACK, Nohype, leftovers, stack_options

from harness.paths import state_dir
from harness.provision.stacks import needs_kernel
from harness.toolbox.keys import control_key

pytest.register_assert_rewrite("rack_guests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.rack)


@pytest.fixture(scope="session")
def nohype() -> Nohype:
    if os.geteuid() != 0:
        pytest.skip("the emulated rack needs root: sudo tests/run")
    # Always the same place: what a killed test run has left is found and ended by the next one (and by .ci/run).
    made = Nohype(state_dir() / "rack-tests")
    for left_over in (made, Nohype(made.state / "vtd")):
        left_over("rack", "down")
    shutil.rmtree(made.state, ignore_errors=True)
    control_key()  # it is part of the images: with another one every image would be built anew
    shutil.copytree(state_dir() / "keys", made.state / "keys")
    (made.state / "snapshots").touch()
    return made


@pytest.fixture(scope="session")
def rack(nohype: Nohype, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nohype]:
    description = tmp_path_factory.mktemp("description") / "rack.yml"
    description.write_text(RACK)
    try:
        nohype("rack", "up", "--rack", description, seconds=1500)  # images may have to be built
        yield nohype
    finally:
        nohype("rack", "down")
        assert leftovers(nohype.state) == []


@pytest.fixture(scope="session")
def provisioned(rack: Nohype) -> Nohype:
    rack("provision", *stack_options(stack for stack in PROVISIONED if not needs_kernel(stack)))
    rack("kernel", "build", seconds=4 * 3600)  # meanwhile somebody may have compiled it
    rack("provision", *stack_options(stack for stack in PROVISIONED if needs_kernel(stack)))
    return rack
