"""The program that is installed on hosts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness.paths import repo_root
from harness.provision import agent_bundle

ONHOST = repo_root() / "harness" / "onhost"


def test_same_sources_same_bytes(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(ONHOST, copy)
    for number, path in enumerate(sorted(copy.rglob("*"), reverse=True)):
        os.utime(path, (number, number))
    (copy / "__pycache__").mkdir(exist_ok=True)
    (copy / "__pycache__" / "junk.pyc").write_bytes(b"junk")
    one = agent_bundle.build(tmp_path / "one")
    two = agent_bundle.build(tmp_path / "two", copy)
    assert one.read_bytes() == two.read_bytes()
    assert agent_bundle.digest() == agent_bundle.digest(copy)


def test_a_changed_source_changes_bytes_and_digest(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(ONHOST, copy)
    before = agent_bundle.digest(copy)
    with (copy / "facts.py").open("a") as file:
        file.write("# more\n")
    assert agent_bundle.digest(copy) != before
    assert agent_bundle.build(tmp_path / "b", copy).read_bytes() != agent_bundle.build(tmp_path / "a").read_bytes()


def test_it_runs_away_from_the_repository(tmp_path: Path) -> None:
    bundle = agent_bundle.build(tmp_path / "bin" / "nohype-host")
    assert os.access(bundle, os.X_OK)
    argv = [sys.executable, "-I", "-S", str(bundle), "--help"]  # isolated: not our site-packages, not our folder
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, env={})
    assert (done.returncode, done.stderr) == (0, "")
    assert "nohype-host facts" in done.stdout


def test_errors_keep_their_form(tmp_path: Path) -> None:
    bundle = agent_bundle.build(tmp_path / "nohype-host")
    done = subprocess.run([sys.executable, str(bundle), "fcats"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert '{"error": {"what": ' in done.stderr.splitlines()[-1]
