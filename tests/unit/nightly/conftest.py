from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.results.store import Store


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of the test's own, in memory: histories are thousands of transactions, each waits for its disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        monkeypatch.setenv("NOHYPE_STATE", folder)
        monkeypatch.delenv("NOHYPE_DATABASE_URL", raising=False)
        yield Path(folder)


@pytest.fixture
def store(state: Path) -> Iterator[Store]:
    """The default store of that folder."""
    with Store() as made:
        yield made
