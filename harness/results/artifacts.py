"""Files that a campaign leaves behind: outputs, consoles, logs. Written whole or not at all, never overwritten.

$NOHYPE_STATE/artifacts/<campaign>/            one folder per campaign
    blocks/<block>/<trial>/                    one per trial; a trial that was run again gets a second one
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from harness.errors import StorageError
from harness.paths import state_dir


def campaign_folder(campaign_id: str) -> Path:
    """Where the campaign's artifacts are, or would be."""
    return state_dir() / "artifacts" / campaign_id


def new_folder(parent: Path, name: str) -> Path:
    """Make `parent/name`, or `name-2` and so on where there is one already. Raises StorageError."""
    with storing(parent):
        parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            folder = parent / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder


def write_text(path: Path, text: str) -> None:
    """Write a new file: it appears whole, and is on disk when this returns.

    Raises StorageError, also where there is such a file with other content: results are never overwritten.
    """
    with storing(path):
        if path.exists():
            if path.read_text(encoding="utf-8") == text:
                return
            raise StorageError("there is such a file already, and results are never overwritten", where=str(path))
        part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            with part.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """As `write_text`, for a JSON document."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Within, an OSError of writing at `path` becomes a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"artifacts cannot be written: {error.strerror or error}",
            where=str(path),
            fix=f"free space under {state_dir()}, or move it with NOHYPE_STATE",
        ) from None
