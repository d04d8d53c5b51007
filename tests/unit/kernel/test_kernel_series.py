"""What is told of a patch that does not fit: read from GNU patch itself."""

from __future__ import annotations

from pathlib import Path

from harness.kernel.series import Fit, Misfit, apply, touched

HUNK = "@@ -1,3 +1,4 @@\n a\n b\n+n\n c\n"
ALL_KINDS = "".join(f"--- a/{name}\n+++ b/{name}\n{HUNK}" for name in ("changed.c", "missing.c", "fits.c", "done.c"))
ALL_KINDS += "--- /dev/null\n+++ b/there.c\n@@ -0,0 +1 @@\n+a\n"


def test_every_kind_of_misfit_is_told_with_its_file(tmp_path: Path) -> None:
    tree = tmp_path / "source"
    tree.mkdir()
    files = {"changed.c": "a\nx\nc\n", "fits.c": "a\nb\nc\n", "done.c": "a\nb\nn\nc\n", "there.c": "here\n"}
    for name, text in files.items():
        (tree / name).write_text(text)
    later = ("2.patch", "--- a/fits.c\n+++ b/fits.c\n@@ -1,4 +1,5 @@\n a\n b\n n\n+n\n c\n")
    first, second = apply([("1.patch", ALL_KINDS), later], tree, enter=lambda argv: argv)
    assert first.misfits == (
        Misfit("changed.c", "hunk 1 at line 1"),
        Misfit("missing.c", "there is no such file"),
        Misfit("done.c", "the change is in it already"),
        Misfit("there.c", "the file is there already"),
    )
    assert str(first) == "patch 1.patch fails at changed.c: hunk 1 at line 1 (and in 3 other files)"
    assert second == Fit("2.patch", ())  # on what the first left
    assert {path.name: path.read_text() for path in tree.iterdir()} == {**files, "fits.c": "a\nb\nn\nn\nc\n"}
    assert not (tmp_path / "patch").exists()


def test_files_that_a_series_touches() -> None:
    assert touched([("1.patch", ALL_KINDS)]) == {"changed.c", "missing.c", "fits.c", "done.c", "there.c"}
