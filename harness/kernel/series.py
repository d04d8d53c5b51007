"""Apply the series to a source, without fuzz, and tell what does not go in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.toolbox.process import attempt

# Turns an argument list into one that runs with the programs of choice: a Debian root's, or this machine's as it is.
Enter = Callable[[Sequence[str]], Sequence[str]]
Patches = Sequence[tuple[str, str]]  # name and text, in the order in which they are applied

# No fuzz: a patch whose surroundings have changed may well apply in the wrong place.
_STRICT = ("--strip=1", "--fuzz=0", "--forward", "--batch", "--reject-file=-", "--no-backup-if-mismatch")
_FILE = re.compile(r"(?:patching file |\|\+\+\+ b/|The next patch would create the file )'?([^\s',]+)")
_HUNK = re.compile(r"Hunk #(\d+) FAILED at (\d+)")
_END_OF_FILE = re.compile(r"\d+ out of \d+ hunks? (?:FAILED|ignored)")
# What GNU patch says of a file of which it takes nothing, and what we say of it.
_SKIPPED = {
    "No file to patch": "there is no such file",
    "which already exists": "the file is there already",
    "previously applied": "the change is in it already",
}


@dataclass(frozen=True)
class Misfit:
    """A file that does not take its part of a patch."""

    file: str
    why: str


@dataclass(frozen=True)
class Fit:
    """How a patch went in: everywhere, or not in some files."""

    name: str
    misfits: tuple[Misfit, ...]

    def __str__(self) -> str:
        """The patch, and the first place where it fails."""
        if not self.misfits:
            return f"patch {self.name} applies"
        first, more = self.misfits[0], len(self.misfits) - 1
        rest = f" (and in {more} other file{'s' if more > 1 else ''})" if more else ""
        return f"patch {self.name} fails at {first.file}: {first.why}{rest}"


def read(folder: Path) -> tuple[tuple[str, str], ...]:
    """Every *.patch of the folder, in name order."""
    # Patches hold pieces of other people's files: whatever the bytes are, they go through unchanged.
    return tuple(
        (path.name, path.read_text(encoding="utf-8", errors="surrogateescape"))
        for path in sorted(folder.glob("*.patch"))
    )


def apply(patches: Patches, tree: Path, enter: Enter) -> Iterator[Fit]:
    """Apply the patches one after the other, and tell of each as it is done; what fits of a patch goes in.

    Needs a neighbour of `tree` for its drafts. Raises HarnessError where patch(1) fails otherwise than by a misfit.
    """
    draft = tree.with_name("patch")
    try:
        for name, text in patches:
            draft.write_text(text, encoding="utf-8", errors="surrogateescape")
            argv = enter(["patch", *_STRICT, "--directory", str(tree), "--input", str(draft)])
            done = attempt(argv, env={"LC_ALL": "C.UTF-8"})
            misfits = tuple(_misfits(done.stdout))
            if done.returncode != (1 if misfits else 0):  # patch(1): 1 is some hunk that does not apply
                said = done.stderr.strip() or done.stdout.strip()
                raise HarnessError(f"patch ended with status {done.returncode}: {said}", where=name)
            yield Fit(name, misfits)
    finally:
        draft.unlink(missing_ok=True)


def touched(patches: Patches) -> frozenset[str]:
    """The files that the patches change, make or take away; and perhaps a few more."""
    names = (re.findall(r"^(?:---|\+\+\+) [ab]/(\S+)$", text, re.MULTILINE) for _, text in patches)
    return frozenset(name for found in names for name in found)


def _misfits(said: str) -> Iterator[Misfit]:
    """Read what GNU patch 2.7 said (recorded in tests/unit/kernel)."""
    file, found = "", list[str]()
    for line in said.splitlines():
        if name := _FILE.match(line):
            file, found = name[1], []
        elif hunk := _HUNK.match(line):
            found.append(f"hunk {hunk[1]} at line {hunk[2]}")
        elif _END_OF_FILE.match(line):
            yield Misfit(file, ", ".join(found) or "it is not taken")
        found += [why for words, why in _SKIPPED.items() if words in line]
