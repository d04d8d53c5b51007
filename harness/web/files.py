"""A campaign's artifacts as pages: folders as lists, files as they are.

Artifacts hold what guests said, and guests may be hostile: whatever a file is, a browser gets it as text or to save.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from starlette.responses import FileResponse

_TEXT = {".txt", ".log", ".json", ".jsonl", ".yml", ".yaml", ".md", ".csv", ".html", ".xml", ".err", ".out", ""}


@dataclass(frozen=True)
class Entry:
    """A line of a folder's list. `size` is in bytes, None for folders; `address` is relative to the folder's."""

    name: str
    address: str
    size: int | None


def inside(root: Path, relative: str) -> Path | None:
    """The file or folder at `relative` to `root`; None where there is none, it is hidden, or it lies elsewhere."""
    if any(part.startswith(".") for part in relative.split("/")) or "\0" in relative:
        return None
    try:
        found = (root / relative).resolve(strict=True)
        return found if found.is_relative_to(root.resolve(strict=True)) else None
    except (OSError, RuntimeError):  # none there; a circle of links
        return None


def entries(root: Path, folder: Path) -> list[Entry]:
    """What `inside` finds in a folder below `root`. Folders first."""
    found = [
        Entry(path.name, quote(path.name) + "/" * path.is_dir(), None if path.is_dir() else path.stat().st_size)
        for path in sorted(folder.iterdir())
        if inside(root, str(path.relative_to(root)))
    ]
    return sorted(found, key=lambda entry: entry.size is not None)


def file_response(path: Path) -> FileResponse:
    """The file as text, or, where it is none, as a download."""
    headers = {"Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'"}
    if path.suffix in _TEXT:
        return FileResponse(path, media_type="text/plain; charset=utf-8", headers=headers)
    return FileResponse(path, media_type="application/octet-stream", headers=headers, filename=path.name)
