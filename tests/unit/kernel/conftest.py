"""A small archive as the mirror in use, and a small series."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_archive import SmallArchive, small_archive
from two_sources import PATCHES


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallArchive]:
    """The mirror in use; its keys are those that count, and the cache is empty."""
    with small_archive(tmp_path / "served") as served:
        served.root.mkdir()
        monkeypatch.setenv("NOHYPE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("NOHYPE_DEBIAN_MIRROR", served.mirror)
        monkeypatch.setenv("NOHYPE_DEBIAN_SNAPSHOT", served.snapshot)
        monkeypatch.setenv("NOHYPE_DEBIAN_KEYRING", str(served.keyring))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield served


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A folder of patches that apply to OLD; the second does not apply to NEW."""
    folder = tmp_path / "series"
    folder.mkdir()
    for name, text in PATCHES.items():
        (folder / name).write_text(text)
    return folder
