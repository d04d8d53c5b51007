"""A file system that is soon full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_file_system(folder: Path, size: str) -> Iterator[None]:
    """`folder`, which is empty, has room for `size` (as of tmpfs: `64k`, `8m`) within the block. Needs root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        # Lazily: where a test fails, a process of its may still be writing.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
