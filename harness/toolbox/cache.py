"""A folder of built things, each named by the hash of its recipe: built once, whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from harness.paths import cache_dir
from harness.wait import until


def digest(recipe: object) -> str:
    """SHA-256 over the recipe's canonical JSON; 16 hex digits are plenty to tell recipes apart."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_cached(kind: str, key: str) -> bool:
    """Whether `cached` would return at once."""
    return (cache_dir() / f"{kind}-{key}").exists()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` (created): two processes building the same thing take turns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        # Not flock's own wait: a thread that is to end could not leave it.
        until(lambda: _try_lock(handle), seconds=math.inf, what="lock", where=str(path))
        yield


def _try_lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def cached(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder `<cache>/<kind>-<key>`, made by `build(folder)` when it is not there.

    `build` fills a temporary neighbour that is renamed when it returns, so a killed build leaves nothing that looks
    finished; what it leaves is cleared away by the next one.
    """
    home = cache_dir()
    target = home / f"{kind}-{key}"
    with locked(home / f".{kind}-{key}.lock"):
        if not target.exists():
            for left_over in home.glob(f".{kind}-{key}-*"):
                shutil.rmtree(left_over, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{kind}-{key}-", dir=home))
            try:
                scratch.chmod(0o755)
                build(scratch)
                scratch.rename(target)
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise
    return target
