"""Unpack nohype-host on its host, compiled.

Python compiles what it imports from an archive at every start; of what lies in a folder it keeps the compiled form. On
an emulated host that is up to a second of each command (2.7 s against 1.6 s for `facts`).
"""

from __future__ import annotations

import compileall
import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from .errors import AgentError
from .system import ROOT

FOLDER = "usr/local/lib/nohype-host"  # holds a folder for each version, named by the archive's SHA-1
PROGRAM = "usr/local/sbin/nohype-host"
DONE = "installed"  # in a version's folder once the program is that version: role agent looks for it
# -I: no file of the current folder and no variable of the caller's decides what root's Python imports.
_LAUNCHER = """\
#!/usr/bin/python3 -I
import sys

sys.path.insert(0, {folder!r})
from onhost.__main__ import main

sys.exit(main())
"""


def install(archive: Path, root: Path = ROOT) -> dict[str, object]:
    """Make `archive`, a nohype-host that Python can run, the host's nohype-host.

    A program that runs meanwhile keeps its own version; those before that go. Raises AgentError for what is no archive.
    """
    name = hashlib.sha1(archive.read_bytes(), usedforsecurity=False).hexdigest()  # as Ansible's copy tells it
    home = root / FOLDER
    target, program = home / name, root / PROGRAM
    launcher = _LAUNCHER.format(folder=f"/{FOLDER}/{name}")
    before = program.read_text(encoding="utf-8", errors="replace") if program.exists() else ""
    if before == launcher and (target / DONE).exists():
        return {"changed": False, "folder": f"/{FOLDER}/{name}"}
    home.mkdir(parents=True, exist_ok=True)
    if not target.is_dir():
        _unpack(archive, home, target)
    program.parent.mkdir(parents=True, exist_ok=True)
    draft = program.with_name(".nohype-host.new")
    draft.write_text(launcher, encoding="utf-8")
    draft.chmod(0o755)
    draft.replace(program)
    (target / DONE).touch()
    for folder in home.iterdir():
        if folder != target and folder.name not in before:
            shutil.rmtree(folder, ignore_errors=True)
    return {"changed": True, "folder": f"/{FOLDER}/{name}"}


def _unpack(archive: Path, home: Path, target: Path) -> None:
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
    try:
        with zipfile.ZipFile(archive) as bundle:
            bundle.extractall(draft)
    except zipfile.BadZipFile as error:
        shutil.rmtree(draft)
        raise AgentError(f"is no archive: {error}", where=str(archive)) from None
    for folder, _, names in os.walk(draft):
        Path(folder).chmod(0o755)
        for name in names:
            Path(folder, name).chmod(0o644)
    compileall.compile_dir(draft, quiet=1)
    draft.replace(target)
