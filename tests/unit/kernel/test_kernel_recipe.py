"""What a kernel is made of, and what its configuration must have come out as."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.kernel import recipe
from harness.kernel.config import refused, settings
from harness.kernel.source import RECORD
from harness.paths import repo_root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A checkout with a series of two patches, the second written first."""
    shutil.copytree(repo_root() / "kernel/configs", tmp_path / "kernel/configs")
    folder = tmp_path / "kernel/patches/6.12"
    folder.mkdir(parents=True)
    (folder / "0002-b.patch").write_bytes(b"--- b\n+\xe9\n")
    (folder / "0001-a.patch").write_text("--- a\n")
    (folder / "README").write_text("no patch\n")
    shutil.copy(recipe.series() / RECORD, folder)
    return tmp_path


def test_patches_come_in_name_order_and_unchanged(home: Path) -> None:
    names, texts = zip(*recipe.patches(home), strict=True)
    assert names == ("0001-a.patch", "0002-b.patch")
    assert texts[1].encode("utf-8", errors="surrogateescape") == b"--- b\n+\xe9\n"


def test_a_series_may_be_empty(tmp_path: Path) -> None:
    assert recipe.patches(tmp_path) == ()


def test_the_digest_changes_with_what_it_stands_for(home: Path) -> None:
    first = recipe.rack(home).digest
    assert first == recipe.rack(home).digest
    assert len({first, recipe.full(home).digest, *(recipe.variant(n, home).digest for n in recipe.VARIANTS)}) == 4
    (home / "kernel/patches/6.12/README").write_text("still no patch\n")
    assert first == recipe.rack(home).digest
    patch = home / "kernel/patches/6.12/0001-a.patch"
    patch.rename(patch.with_name("0003-a.patch"))
    renamed = recipe.rack(home).digest
    assert renamed != first
    with (home / "kernel/configs/rack.config").open("a") as file:
        file.write("CONFIG_NVME=y\n")
    configured = recipe.rack(home).digest
    assert configured not in (first, renamed)
    record = recipe.series(home) / RECORD
    record.write_text(record.read_text().replace("version: 6.12.", "version: 6.12.1"))
    assert recipe.rack(home).digest not in (first, renamed, configured)


def test_a_kernel_for_some_hosts_is_one_for_the_modules_they_have(home: Path) -> None:
    some = recipe.full(home, ["igb", "ext4"])
    assert some == recipe.full(home, ["ext4", "igb", "igb"])
    assert len({some.digest, recipe.full(home).digest, recipe.full(home, ["igb"]).digest}) == 3


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rack\.config"):
        recipe.rack(tmp_path)


KERNELS = {**{name: recipe.variant(name) for name in recipe.VARIANTS}, "full": recipe.full()}


@pytest.mark.parametrize("made", KERNELS.values(), ids=KERNELS)
def test_all_kernels_have_both_sides_and_a_release_of_their_own(made: recipe.KernelRecipe) -> None:
    asked = settings(made.fragment)
    assert asked["CONFIG_KVM_NOHYPE"] == asked["CONFIG_NOHYPE_GUEST"] == "y"
    assert asked["CONFIG_LOCALVERSION"].endswith('-nohype"')
    assert asked["CONFIG_LOCALVERSION_AUTO"] == "n"


def test_releases_of_the_kernels_differ() -> None:
    assert len({settings(made.fragment)["CONFIG_LOCALVERSION"] for made in KERNELS.values()}) == len(KERNELS)


def test_what_slows_a_kernel_down_is_in_its_variants_alone() -> None:
    asked = {name: settings(made.fragment) for name, made in KERNELS.items()}
    for option, name in (
        ("KASAN", "debug"),
        ("PROVE_LOCKING", "debug"),
        ("FUNCTION_TRACER", "instrumented"),
        ("KCOV", "instrumented"),
    ):
        assert [kernel for kernel, found in asked.items() if found.get(f"CONFIG_{option}") == "y"] == [name]


def test_the_environment_chooses_the_kernel_of_the_rack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOHYPE_KERNEL", raising=False)
    assert recipe.chosen() == recipe.rack()
    monkeypatch.setenv("NOHYPE_KERNEL", "debug")
    assert recipe.chosen() == recipe.variant("debug")
    assert settings(recipe.chosen().fragment)["CONFIG_KASAN"] == "y"
    monkeypatch.setenv("NOHYPE_KERNEL", "debgu")
    with pytest.raises(InputError, match=r"NOHYPE_KERNEL.*did you mean 'debug'"):
        recipe.chosen()


@pytest.mark.parametrize(
    ("outcome", "missing"),
    [
        ('CONFIG_A=y\nCONFIG_S="x y"\n# CONFIG_B is not set\n', ()),
        ('CONFIG_A=y\nCONFIG_S="x y"\n', ()),  # an option that is invisible is not set either
        ('CONFIG_A=m\nCONFIG_S="x y"\n', ("CONFIG_A=y (is m)",)),
        ('CONFIG_S="x y"\nCONFIG_B=y\n', ("CONFIG_A=y (is n)", "CONFIG_B=n (is y)")),
        ("", ("CONFIG_A=y (is n)", 'CONFIG_S="x y" (is n)')),
    ],
)
def test_refused_options_are_named(outcome: str, missing: tuple[str, ...]) -> None:
    fragment = '# about B\nCONFIG_A=y\nCONFIG_S="x y"\n# CONFIG_B is not set\n'
    assert refused(fragment, outcome) == missing
