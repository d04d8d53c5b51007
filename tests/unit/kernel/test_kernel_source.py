"""Which source a kernel is built from, on a small archive."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from small_archive import SOURCE, SmallArchive
from two_sources import NEW, OLD

from harness.errors import HarnessError, InputError, UnavailableError
from harness.kernel import recipe
from harness.kernel.series import read
from harness.kernel.source import RECORD, Recorded, Source, record, recorded, unpack
from harness.toolbox.archive import Package
from harness.toolbox.process import run

SEEN = "20261129T021113Z"
WHY = (
    "the series does not apply to linux-source-6.12 6.12.20-1 "
    "(patch 0002-first.patch fails at kernel/first.c: hunk 2 at line 20)"
)


class Build:
    """A build as far as its source: the builder's root offers NEW, and OLD is recorded."""

    def __init__(self, archive: SmallArchive, series: Path, folder: Path) -> None:
        self.old, self.new = archive.source("6.12.10-1", OLD), archive.source("6.12.20-1", NEW)
        self.series, self.folder = series, folder
        self.steps: list[str] = []
        self.folder.mkdir()

    @property
    def tree(self) -> Path:
        return self.folder / "source"

    def offered(self, archive: SmallArchive, package: Package) -> tuple[str, Path]:
        """The version, and the archive of the source as an installed package leaves it."""
        root = self.folder.with_name(f"root-{package.version}")
        run(["dpkg-deb", "--extract", archive.root / "debian" / package.path, root])
        return package.version, root / f"usr/src/{SOURCE}.tar.xz"

    def unpack(self, offered: tuple[str, Path], package: Package | None = None) -> Source:
        fallback = Recorded(package or self.old, SEEN)
        return unpack(self.tree, offered, read(self.series), fallback, self._step, enter=lambda argv: argv)

    @contextmanager
    def _step(self, text: str) -> Iterator[None]:
        self.steps.append(text)
        yield


@pytest.fixture
def build(archive: SmallArchive, series: Path, tmp_path: Path) -> Build:
    return Build(archive, series, tmp_path / "build")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_the_archives_newest_is_built_where_it_takes_the_series(archive: SmallArchive, build: Build) -> None:
    offered = build.offered(archive, build.new)
    (build.series / "0002-first.patch").unlink()
    assert build.unpack(offered) == Source("6.12.20-1", "")
    assert lines(build.tree / "drivers/second.c")[2:5] == ["line 3", "added", "line 4"]
    assert lines(build.tree / "kernel/first.c")[0] == "new"
    assert build.steps == ["kernel: source 6.12.20-1, 1 patches"]
    assert archive.asked == []


def test_else_the_recorded_source_is_built_and_that_is_told(archive: SmallArchive, build: Build) -> None:
    assert build.unpack(build.offered(archive, build.new)) == Source("6.12.10-1", f"recorded; {WHY}")
    assert build.steps[1:] == [f"kernel: {WHY}; building the recorded 6.12.10-1 instead"]
    assert archive.asked == [f"/debian/{build.old.path}"]
    assert lines(build.tree / "kernel/first.c")[:2] == ["line 1", "line 2"]
    assert lines(build.tree / "kernel/first.c").count("added") == 2
    assert (build.tree / "kernel/third.c").read_text() == "made\n"
    # Of the source that did not take the series nothing is left, nor anything beside the tree.
    assert sorted(path.name for path in build.folder.iterdir()) == ["source"]
    assert sorted(path.name for path in (build.tree / "kernel").iterdir()) == ["first.c", "third.c"]


def test_once_fetched_it_comes_from_the_cache(archive: SmallArchive, build: Build) -> None:
    offered = build.offered(archive, build.new)
    build.unpack(offered)
    shutil.rmtree(build.tree)
    (archive.root / "debian" / build.old.path).unlink()
    archive.asked.clear()
    assert build.unpack(offered).version == "6.12.10-1"
    assert archive.asked == []


def _removed(archive: SmallArchive, build: Build) -> None:
    archive.dated(build.old, SEEN)


def _replaced(archive: SmallArchive, build: Build) -> None:
    archive.dated(build.old, SEEN)
    archive.source("6.12.10-1", {**OLD, "README": "of another make\n"})


@pytest.mark.parametrize("spoil", [_removed, _replaced])
def test_what_the_mirror_lacks_comes_from_a_dated_one(
    archive: SmallArchive, build: Build, spoil: Callable[[SmallArchive, Build], None]
) -> None:
    offered = build.offered(archive, build.new)
    spoil(archive, build)
    assert build.unpack(offered).version == "6.12.10-1"
    assert archive.asked[-1] == f"/snapshot/{SEEN}/{build.old.path}"
    assert (build.tree / "README").read_text() == "a kernel\n"


def test_an_error_tells_where_the_recorded_source_was_looked_for(
    archive: SmallArchive, build: Build, tmp_path: Path
) -> None:
    wrong = replace(build.old, sha256="0" * 64)
    archive.dated(build.old, SEEN)
    with pytest.raises(UnavailableError) as caught:
        build.unpack(build.offered(archive, build.new), wrong)
    assert WHY in caught.value.what
    assert f"{archive.mirror}/{wrong.path}: 404 " in caught.value.what
    assert f"{archive.snapshot}/{SEEN}/{wrong.path}: Hash Sum mismatch" in caught.value.what
    assert "NOHYPE_DEBIAN_SNAPSHOT" in caught.value.fix
    assert not list((tmp_path / "cache").glob("[!.]*"))


def test_neither_takes_the_series(archive: SmallArchive, build: Build) -> None:
    patch = build.series / "0001-second.patch"
    patch.write_text(patch.read_text().replace(" line 3\n", " line three\n"))
    with pytest.raises(InputError, match=r"6\.12\.20-1 .*; and the recorded 6\.12\.10-1 .* does not apply") as caught:
        build.unpack(build.offered(archive, build.new))
    assert caught.value.where == "0001-second.patch"
    assert "rebase" in caught.value.fix


def test_the_recorded_source_is_not_tried_twice(archive: SmallArchive, build: Build) -> None:
    offered = build.offered(archive, build.new)
    with pytest.raises(InputError, match=r"does not apply to linux-source-6\.12 6\.12\.20-1"):
        build.unpack(offered, build.new)
    assert archive.asked == []


def test_a_source_is_recorded_once(build: Build) -> None:
    assert record(build.old, build.series)
    first = (build.series / RECORD).read_text()
    assert recorded(build.series).package == build.old
    assert not record(build.old, build.series)
    assert (build.series / RECORD).read_text() == first
    assert record(build.new, build.series)
    assert recorded(build.series).package == build.new


@pytest.mark.parametrize(
    ("old", "new", "line"), [("size: ", "size: about ", 7), ("sha256: ", "sha256: x", 6), ("seen: ", "seen: on ", 8)]
)
def test_a_wrong_record_is_named(build: Build, old: str, new: str, line: int) -> None:
    record(build.old, build.series)
    path = build.series / RECORD
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError) as caught:
        recorded(build.series)
    assert caught.value.where == f"{path}:{line}"


def test_no_record(build: Build) -> None:
    with pytest.raises(InputError, match="no such file"):
        recorded(build.series)


def test_the_repository_has_a_record_of_the_package_that_builders_install() -> None:
    package = recorded(recipe.series()).package
    assert package.name == recipe.SOURCE
    assert package.path == f"pool/main/l/linux/{package.name}_{package.version}_all.deb"


def test_trouble_of_patch_is_no_misfit(archive: SmallArchive, build: Build) -> None:
    (build.series / "0001-second.patch").write_text("this is no patch\n")
    with pytest.raises(HarnessError, match=r"0001-second\.patch: patch ended with status 2"):
        build.unpack(build.offered(archive, build.new))
