"""The documentation's pictures, drawn by a real browser from an invented campaign."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import headless_browser
from invented_campaign import add_campaign

from harness.paths import repo_root
from harness.results.store import Store

PAGES = ("README.md", "docs/tutorial.md", "docs/how-to/watch.md", "docs/how-to/nightlies.md")


def test_pictures_are_drawn_from_a_campaign(tmp_path: Path) -> None:
    headless_browser.program()
    state, checkout = tmp_path / "state", tmp_path / "checkout"
    with Store(f"sqlite:///{state / 'results.sqlite'}") as store:
        record = add_campaign(store, "pictures", datetime(2026, 1, 2, tzinfo=UTC))
    for name in PAGES:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text((repo_root() / name).read_text(encoding="utf-8"), encoding="utf-8")
    env = {**os.environ, "NOHYPE_STATE": str(state)}
    env.pop("NOHYPE_DATABASE_URL", None)
    argv = [sys.executable, str(repo_root() / "docs/regenerate.py"), record.id, "--checkout", str(checkout)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    images = checkout / "docs/img"
    for name, size in (("report.png", (1000, 1560)), ("serve.png", (1000, 900))):
        data = (images / name).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", data[16:24]) == size
        assert len(data) > 20_000, f"{name} is empty"
    assert "url(http" not in (images / "compare.svg").read_text(encoding="utf-8")  # a picture loads nothing
    svg = ElementTree.parse(images / "compare.svg")
    assert "kvm-tuned" in "".join(svg.getroot().itertext())
    for name in PAGES[:3]:
        assert "2026-01-02" in (checkout / name).read_text(encoding="utf-8"), name
    assert "(img/compare.svg)" in (checkout / "docs/tutorial.md").read_text(encoding="utf-8")
    assert "digest.png stays as it is" in done.stderr
    assert not (images / "digest.png").exists()
