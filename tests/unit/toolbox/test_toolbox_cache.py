"""Built things are there as a whole or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.toolbox.cache import cached

KILLED_BUILD = """
import os, signal
from harness.toolbox.cache import cached

def build(folder):
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)

cached("thing", "1", build)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOHYPE_CACHE", str(tmp_path))
    return tmp_path


def folders(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_built_once(cache: Path) -> None:
    calls: list[Path] = []
    assert cached("thing", "1", calls.append) == cached("thing", "1", calls.append) == cache / "thing-1"
    assert len(calls) == 1


def test_a_failed_build_leaves_nothing(cache: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").touch()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cached("thing", "1", build)
    assert folders(cache) == []


def test_a_killed_builds_rest_is_cleared_away_by_the_next(cache: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_BUILD], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (cache / "thing-1").exists()
    assert len(folders(cache)) == 1
    cached("thing", "1", lambda folder: (folder / "whole").touch())
    assert folders(cache) == ["thing-1"]
    assert [path.name for path in (cache / "thing-1").iterdir()] == ["whole"]
