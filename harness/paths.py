"""Where things are kept. Environment variables move them; nothing else in the harness names a folder of its own.

`NOHYPE_CACHE` (default `~/.cache/nohype`): downloads and built images, by content hash; safe to delete.
`NOHYPE_STATE` (default `~/.local/state/nohype`): the running rack, the results store, artifacts; not safe to delete.
"""

from __future__ import annotations

import os
from pathlib import Path


def repo_root() -> Path:
    """The checkout that holds playbooks/, workloads/ and campaigns/ (the package is installed editable)."""
    return Path(__file__).resolve().parent.parent


def cache_dir() -> Path:
    return Path(os.environ.get("NOHYPE_CACHE") or Path.home() / ".cache" / "nohype")


def state_dir() -> Path:
    return Path(os.environ.get("NOHYPE_STATE") or Path.home() / ".local" / "state" / "nohype")
