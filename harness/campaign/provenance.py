"""Which harness a campaign is run by."""

from __future__ import annotations

import subprocess

from harness.paths import repo_root

_GIT_SECONDS = 30.0


def revision() -> str:
    """The git revision of the checkout, with `-dirty` where files differ from it; `unknown` outside of git."""
    head = _git("rev-parse", "HEAD").strip()
    if not head:
        return "unknown"
    return f"{head}-dirty" if _git("status", "--porcelain") else head


def _git(*words: str) -> str:
    # The checkout may belong to the user who then became root.
    argv = ["git", "-c", f"safe.directory={repo_root()}", "-C", str(repo_root()), *words]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
