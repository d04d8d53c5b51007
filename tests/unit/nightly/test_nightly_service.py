"""The controller's systemd unit."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import UnavailableError
from harness.nightly.service import UNIT, Service, start_service, stop_service, systemd_runs, unit_text

SYSTEM = Service(Path("/etc/systemd/system") / UNIT, Path("/etc/nohype/nightly.env"), system=True)


def one_of(tmp_path: Path, *, system: bool) -> Service:
    return Service(tmp_path / UNIT, tmp_path / "nightly.env", system=system)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("system", [True, False])
def test_systemd_understands_every_line_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: bool) -> None:
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path / "a state folder with 100%"))
    (tmp_path / "a state folder with 100%").mkdir()
    path = tmp_path / UNIT
    path.write_text(unit_text(one_of(tmp_path, system=system)))
    argv = ["systemd-analyze", "verify", "--man=no", *([] if system else ["--user"]), str(path)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    assert UNIT not in done.stderr, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_the_systems_unit_has_few_of_roots_powers(tmp_path: Path) -> None:
    path = tmp_path / UNIT
    path.write_text(unit_text(SYSTEM))
    argv = ["systemd-analyze", "security", "--offline=yes", "--threshold=50", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_secret_gets_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOHYPE_DATABASE_URL", "postgresql://u:hidden@server/nohype")
    assert "hidden" not in unit_text(SYSTEM)
    assert "EnvironmentFile=-/etc/nohype/nightly.env" in unit_text(SYSTEM)


@pytest.mark.skipif(systemd_runs(SYSTEM), reason="systemd runs here, and would get the unit")
def test_without_systemd_nothing_is_written_and_the_other_way_is_told() -> None:
    with pytest.raises(UnavailableError, match="systemd") as error:
        start_service()
    assert "nohype nightly daemon" in error.value.fix
    assert not SYSTEM.path.exists()
    assert not stop_service()
