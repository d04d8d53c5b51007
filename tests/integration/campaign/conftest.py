from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign_laboratory import CAMPAIGN, Laboratory


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    root, state, file = tmp_path / "lab", tmp_path / "state", tmp_path / "test.yml"
    file.write_text(CAMPAIGN)
    monkeypatch.setenv("NOHYPE_STATE", str(state))
    monkeypatch.delenv("NOHYPE_DATABASE_URL", raising=False)
    made = Laboratory(root, state, file)
    made.workloads()
    yield made
    made.end()
