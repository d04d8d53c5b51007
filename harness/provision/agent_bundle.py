"""Pack harness/onhost into one program, `nohype-host`: a zip archive that Python runs (standard library: zipapp).

The same sources give the same bytes, so that Ansible sees a change only where there is one.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

from harness.paths import repo_root

# Debian's Python, never one that a user's PATH puts before it.
_SHEBANG = b"#!/usr/bin/python3\n"
_MAIN = b"import sys\n\nfrom onhost.__main__ import main\n\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip archive can name


def sources(package: Path | None = None) -> tuple[Path, ...]:
    """The files that are packed, in the archive's order."""
    folder = package or repo_root() / "harness" / "onhost"
    return tuple(sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts))


def build(target: Path, package: Path | None = None) -> Path:
    """Write the program to `target` (mode 0755) and return it. Parent folders are made."""
    folder = package or repo_root() / "harness" / "onhost"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        _add(bundle, "__main__.py", _MAIN)
        for path in sources(folder):
            _add(bundle, f"onhost/{path.relative_to(folder).as_posix()}", path.read_bytes())
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_SHEBANG + archive.getvalue())
    target.chmod(0o755)
    return target


def digest(package: Path | None = None) -> str:
    """SHA-256 over names and contents of what is packed."""
    folder = package or repo_root() / "harness" / "onhost"
    summary = hashlib.sha256(_SHEBANG + _MAIN)
    for path in sources(folder):
        summary.update(f"\0{path.relative_to(folder).as_posix()}\0".encode())
        summary.update(path.read_bytes())
    return summary.hexdigest()


def _add(bundle: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, whatever builds it
    entry.external_attr = 0o644 << 16
    bundle.writestr(entry, content)
