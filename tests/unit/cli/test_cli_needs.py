"""What a quickstart says it needs, how long it says it takes, and that it ends there where that is not to be had."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from small_file_system import small_file_system

from harness.cli import estimate as figures
from harness.cli.estimate import GUEST_IMAGE, HOST_IMAGE, KERNEL, KERNEL_ROOT, TOOLBOX, estimate, minutes
from harness.cli.needs import GB, GIB, needs, needs_view
from harness.errors import UnavailableError
from harness.kernel import recipe
from harness.rack.description import default_rack_file, load_rack
from harness.toolbox import root
from harness.toolbox.cache import cached

RACK, OF_KERNEL = (TOOLBOX, GUEST_IMAGE, HOST_IMAGE), (KERNEL_ROOT, KERNEL)
NOHYPE = (sys.executable, "-c", "from harness.cli import main; main()")


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOHYPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("NOHYPE_KERNEL", raising=False)


def test_two_cores_have_the_work_of_both_sides_to_do() -> None:
    work = sum(part.core_seconds for part in (*RACK, *OF_KERNEL)) + figures.BOOT_SECONDS
    found = estimate(RACK, OF_KERNEL, 2)
    assert found.preparation == work / 2
    # Side by side is quicker than one after the other.
    assert found.preparation < sum(part.seconds for part in (*RACK, *OF_KERNEL)) + figures.BOOT_SECONDS
    assert estimate(RACK, OF_KERNEL, 1).preparation == work


def test_more_cores_shorten_the_compilation_and_nothing_else() -> None:
    alone = [estimate((), (KERNEL,), cores, boots=False).preparation for cores in (1, 2, 4, 8)]
    assert alone == [2 * KERNEL.seconds, KERNEL.seconds, KERNEL.seconds / 2, KERNEL.seconds / 4]
    many = estimate(RACK, OF_KERNEL, 1000).preparation
    assert many == sum(part.seconds for part in RACK) + figures.BOOT_SECONDS  # the longer side
    assert estimate((), (), 64).campaign == estimate((), (), 2).campaign == figures.CAMPAIGN_SECONDS
    assert estimate((), (), 1).campaign == 2 * figures.CAMPAIGN_SECONDS


def test_what_is_cached_takes_no_time() -> None:
    assert estimate((), (), 2, boots=False, campaign=False).total == 0
    assert estimate((), (), 2).total == figures.BOOT_SECONDS + figures.CAMPAIGN_SECONDS


def test_the_time_that_is_left_is_never_less_than_what_comes_after() -> None:
    found = estimate(RACK, OF_KERNEL, 2)
    assert found.left(0) == found.total
    assert found.left(100) == found.total - 100
    assert found.left(found.preparation + 1000) == found.campaign
    assert [minutes(seconds) for seconds in (5, 89, 91, 815)] == ["1 min", "1 min", "2 min", "14 min"]


def test_needs_depend_on_what_is_in_the_cache(tmp_path: Path) -> None:
    cold = needs(default_rack_file(), kernel=True)
    hosts = load_rack(default_rack_file()).hosts
    assert (cold.to_make, cold.cached) == ((*RACK, *OF_KERNEL), ())
    assert cold.cores == len(os.sched_getaffinity(0))
    assert sum(room.needed for room in cold.disk) == pytest.approx(12 * GB)
    assert cold.memory_needed / GIB == figures.MEMORY_TO_MAKE_GIB + sum(host.memory_mib for host in hosts) / 1024
    assert cold.memory_free < Path("/proc/meminfo").read_text().count("") * 2**60  # a figure, not a wish

    cached("root-toolbox", root.RECIPE.digest, lambda folder: None)
    builder = recipe.rack().builder
    cached(f"root-{builder.name}", builder.digest, lambda folder: None)
    warmer = needs(default_rack_file(), kernel=True)
    assert warmer.cached == (TOOLBOX, KERNEL_ROOT)
    assert warmer.estimate.total < cold.estimate.total
    assert sum(room.needed for room in warmer.disk) < sum(room.needed for room in cold.disk)

    cached("kernel", recipe.rack().digest, lambda folder: (folder / "manifest.json").write_text("{}"))
    assert KERNEL in needs(default_rack_file(), kernel=True).to_make  # that one is broken
    assert not set(OF_KERNEL) & set(needs(default_rack_file(), kernel=False).to_make)
    made = needs(default_rack_file(), kernel=True, runs=False)
    assert made.estimate.campaign == 0
    assert made.memory_needed == figures.MEMORY_TO_MAKE_GIB * GIB
    assert not (tmp_path / "state").exists()  # nothing was changed, no key was made


def test_too_little_memory_is_refused_with_a_way_out() -> None:
    found = needs(default_rack_file(), kernel=True)
    enough = replace(found, disk=(), memory_free=found.memory_needed)
    enough.check()
    with pytest.raises(UnavailableError, match=r"5\.0 GiB of memory are free, 6\.0 GiB are needed") as caught:
        replace(enough, memory_free=5 * GIB).check()
    assert "memory_mib" in caught.value.fix
    assert caught.value.exit_code == 3


def test_the_view_says_all_of_it_in_few_lines() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    found = replace(needs(default_rack_file(), kernel=True), cores=2, estimate=estimate(RACK, OF_KERNEL, 2))
    console.print(needs_view(replace(found, to_make=(HOST_IMAGE, KERNEL), cached=(TOOLBOX,))))
    text = console.export_text()
    lines = text.splitlines()
    assert "about 18 min on 2 cores" in lines[0]
    assert "12.0 GB in " in text
    assert "6.0 GiB, " in text
    assert "host image, NoHype kernel" in text
    assert any(line.startswith("there already") and "toolbox" in line for line in lines)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the rack does: sudo tests/run")
@pytest.mark.parametrize("command", [("quickstart",), ("rack", "build")])
def test_a_small_disk_is_refused_before_anything_is_built(tmp_path: Path, command: tuple[str, ...]) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    with small_file_system(cache, "64m"):
        done = subprocess.run([*NOHYPE, *command], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 3, done.stderr
        assert list(cache.iterdir()) == []
    told, _, error = done.stderr.partition("error: ")
    assert "about" in told
    assert f"{cache}: 0.1 GB free on the disk, 10.0 GB are needed" in error
    assert "to mend: make room" in error
    assert "NOHYPE_CACHE" in error
    assert not (tmp_path / "state").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="it is root that gives up being root")
def test_without_root_it_says_so_first(tmp_path: Path) -> None:
    argv = ["setpriv", "--reuid=65534", "--clear-groups", *NOHYPE, "quickstart"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("error: the emulated rack needs root")
