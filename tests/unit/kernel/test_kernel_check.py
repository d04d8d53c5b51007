"""`nohype kernel check`, against a small archive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from pysequoia import Tsk
from small_archive import SmallArchive
from two_sources import NEW, OLD
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import ExitCode, UnavailableError
from harness.kernel.source import RECORD, record, recorded
from harness.toolbox.archive import Package, security_mirror


@pytest.fixture
def old(archive: SmallArchive) -> Package:
    """What the suite has, until a test publishes something else."""
    package = archive.source("6.12.10-1", OLD)
    archive.publish("trixie", archive.source("6.12.9-1", OLD), package)
    return package


def check(series: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["kernel", "check", "--series", str(series), *options])


def test_all_patches_apply(old: Package, series: Path) -> None:
    done = check(series)
    assert (done.exit_code, done.stdout.splitlines()) == (
        ExitCode.OK,
        [
            "linux-source-6.12 6.12.10-1 (trixie): what a build takes now",
            "  ✓ 0001-second.patch applies",
            "  ✓ 0002-first.patch applies",
        ],
    )
    assert "not looked at" in done.stderr  # this archive has no updates


def test_a_source_that_does_not_take_the_series(archive: SmallArchive, old: Package, series: Path) -> None:
    record(old, series)
    archive.publish("trixie", archive.source("6.12.20-1", NEW))
    done = check(series, "--record")
    assert done.exit_code == ExitCode.FAILED
    assert done.stdout.splitlines()[1:] == [
        "  ✓ 0001-second.patch applies",
        "  ✗ 0002-first.patch does not apply",
        "      kernel/first.c: hunk 2 at line 20",
        "A build takes the recorded source instead: 6.12.10-1",
    ]
    assert "the recorded source stays: 6.12.10-1" in done.stderr
    assert recorded(series).package == old


@pytest.mark.parametrize("where", [("debian", "trixie-proposed-updates"), ("debian-security", "trixie-security")])
def test_a_later_source_in_the_updates(
    archive: SmallArchive, old: Package, series: Path, where: tuple[str, str]
) -> None:
    folder, suite = where
    archive.publish(suite, archive.source("6.12.20-1", NEW, folder), archive=folder)
    done = check(series, "--json", "--record")
    assert done.exit_code == ExitCode.FAILED
    told = json.loads(done.stdout)
    assert [(source["suite"], source["package"]["version"]) for source in told["sources"]] == [
        ("trixie", "6.12.10-1"),
        (suite, "6.12.20-1"),
    ]
    misfits = [[patch["misfits"] for patch in source["patches"]] for source in told["sources"]]
    assert misfits == [[[], []], [[], [{"file": "kernel/first.c", "why": "hunk 2 at line 20"}]]]
    assert told["applies"] is False
    # What a build takes now applies, so that is what was recorded.
    assert told["recorded"]["package"]["version"] == recorded(series).package.version == "6.12.10-1"


def test_updates_that_are_not_later_are_not_fetched(archive: SmallArchive, old: Package, series: Path) -> None:
    archive.publish("trixie-security", archive.source("6.12.8-1", NEW, "debian-security"), archive="debian-security")
    assert [source["suite"] for source in json.loads(check(series, "--json").stdout)["sources"]] == ["trixie"]
    assert not any("6.12.8-1" in path for path in archive.asked)


def test_recording(old: Package, series: Path) -> None:
    assert "recorded 6.12.10-1" in check(series, "--record").stderr
    first = (series / RECORD).read_text()
    assert recorded(series).package == old
    assert "it is that one already" in check(series, "--record").stderr
    assert (series / RECORD).read_text() == first


def test_an_archive_that_cannot_be_reached(series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOHYPE_DEBIAN_MIRROR", "http://127.0.0.1:1/debian")
    error = check(series).exception
    assert isinstance(error, UnavailableError)
    assert error.exit_code == 3
    assert "NOHYPE_DEBIAN_MIRROR" in error.fix


def test_an_archive_without_the_package(archive: SmallArchive, old: Package, series: Path) -> None:
    archive.publish("trixie")
    error = check(series).exception
    assert isinstance(error, UnavailableError)
    assert error.what == "the suite has no linux-source-6.12"


def test_an_archive_signed_by_a_stranger(archive: SmallArchive, old: Package, series: Path) -> None:
    archive.publish("trixie", old, key=Tsk.generate("A stranger <stranger@example.com>"))
    error = check(series, "--record").exception
    assert isinstance(error, UnavailableError)
    assert "signature" in error.what
    assert not (series / RECORD).exists()


def test_a_package_that_is_not_the_one_in_the_index(archive: SmallArchive, old: Package, series: Path) -> None:
    archive.source(old.version, NEW)
    error = check(series).exception
    assert isinstance(error, UnavailableError)
    assert "found nowhere with the right hash" in error.what


@pytest.mark.parametrize(
    ("mirror", "security"),
    [
        ("http://deb.debian.org/debian", "http://deb.debian.org/debian-security"),
        ("http://debian/debian/", "http://debian/debian-security/"),
        (
            "http://example.com/archive/debian/20261129T000000Z",
            "http://example.com/archive/debian-security/20261129T000000Z",
        ),
        ("http://debian.example.com/trixie", None),
    ],
)
def test_where_a_mirror_has_security_updates(
    mirror: str, security: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOHYPE_DEBIAN_MIRROR", mirror)
    assert security_mirror() == security
