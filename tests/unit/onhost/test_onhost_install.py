"""nohype-host unpacks itself on a host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.onhost.errors import AgentError
from harness.onhost.install import FOLDER, PROGRAM, install
from harness.provision import agent_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return agent_bundle.build(tmp_path / "nohype-host.pyz")


def versions(root: Path) -> list[Path]:
    return sorted((root / FOLDER).iterdir())


def test_it_runs_compiled_from_its_folder(bundle: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert install(bundle, root)["changed"] is True
    (folder,) = versions(root)
    compiled = list(folder.rglob("*.pyc"))
    assert {path.name.split(".")[0] for path in compiled} == {path.stem for path in folder.rglob("*.py")}
    launcher = (root / PROGRAM).read_text()
    assert (root / PROGRAM).stat().st_mode & 0o777 == 0o755
    assert launcher.startswith("#!/usr/bin/python3 -I\n")
    here = launcher.replace(f"/{FOLDER}", str(root / FOLDER))
    said = subprocess.run([sys.executable, "-I", "-c", here, "--help"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("`nohype-host`")


def test_again_it_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    install(bundle, tmp_path / "root")
    assert install(bundle, tmp_path / "root")["changed"] is False


def test_what_runs_keeps_its_version_and_older_ones_go(bundle: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    found = []
    for number in range(3):
        source = tmp_path / f"version-{number}"
        (source / "sub").mkdir(parents=True)
        (source / "__main__.py").write_text(f"version = {number}\n")
        install(agent_bundle.build(tmp_path / f"{number}.pyz", source), root)
        found.append({path.name for path in versions(root)})
    assert [len(each) for each in found] == [1, 2, 2]
    assert not found[0] & found[2]


def test_what_is_no_archive_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    install(bundle, root)
    before = (root / PROGRAM).read_text()
    bad = tmp_path / "bad.pyz"
    bad.write_text("#!/usr/bin/python3\n")
    with pytest.raises(AgentError, match="is no archive"):
        install(bad, root)
    assert (root / PROGRAM).read_text() == before
    assert len(versions(root)) == 1
