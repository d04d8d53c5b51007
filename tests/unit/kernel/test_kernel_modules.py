"""Which modules a host has loaded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.kernel.modules import loaded

# As Linux 6.12 writes it: a module that is being unloaded, one used by others, one out of tree.
TEXT = """\
igb 315392 0 - Live 0x0000000000000000
i2c_algo_bit 16384 1 igb, Live 0x0000000000000000
kvm_amd 221184 0 - Unloading 0x0000000000000000
zfs 6635520 6 - Live 0x0000000000000000 (POE)
"""


class Session:
    """FAKE: a host of which only what it says is there."""

    host_name = "node1"

    def __init__(self, said: str) -> None:
        self._said = said

    def run(self, *_: object, **__: object) -> Any:
        return SimpleNamespace(stdout=self._said)


def test_names_are_read() -> None:
    assert loaded(Session(TEXT)) == {"igb", "i2c_algo_bit", "kvm_amd", "zfs"}  # type: ignore[arg-type]


def test_a_host_without_modules_cannot_say_what_it_needs() -> None:
    with pytest.raises(HarnessError, match="no module loaded") as caught:
        loaded(Session(""))  # type: ignore[arg-type]
    assert caught.value.where == "node1:/proc/modules"
