from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import invented_report
import pytest
from web_server import HOSTILE, Server, serving

from harness.results.model import Note, NoteKind, Status
from harness.results.store import Store


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the invented campaign in it, and what hostile guests may have left among its artifacts."""
    folder = tmp_path_factory.mktemp("state")
    source = invented_report.make(folder, boots=1)
    trial = replace(source.trials[0], status=Status.FAILED, failure=f"said {HOSTILE}")
    note = Note(source.campaign.id, NoteKind.WARNING, "rack1", HOSTILE, source.campaign.started_at)
    made = replace(source, trials=(trial, *source.trials[1:]), notes=(note,))
    empty = replace(source.campaign, id="empty-fixture", started_at=source.campaign.started_at - timedelta(days=1))
    with Store(f"sqlite:///{folder / 'results.sqlite'}") as store:
        invented_report.keep(made, store)
        store.add_campaign(empty)
    (folder / "secret.txt").write_text("secret")
    (source.artifacts / "page.html").write_text(HOSTILE)
    (source.artifacts / "odd?name#.log").write_text("odd")
    (source.artifacts / "disk.img").write_bytes(b"\0\1")
    (source.artifacts / ".hidden").write_text("hidden")
    (source.artifacts / "link.txt").symlink_to(folder / "secret.txt")
    return folder


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[Server]:
    with serving(state) as found:
        yield found
