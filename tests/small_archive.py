"""A small Debian archive on a port of this machine: signed suites with few packages, and dated mirrors of its pool."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pysequoia import SignatureMode, Tsk, sign

from harness.toolbox.archive import Package

SOURCE = "linux-source-6.12"


@dataclass
class SmallArchive:
    """`root` is served as `address`; whatever is asked for is noted in `asked`."""

    root: Path
    address: str
    asked: list[str]
    key: Tsk = field(default_factory=lambda: Tsk.generate("A small archive <archive@example.com>"))

    @property
    def mirror(self) -> str:
        return f"{self.address}/debian"

    @property
    def snapshot(self) -> str:
        return f"{self.address}/snapshot"

    @property
    def keyring(self) -> Path:
        path = self.root / "keys.asc"
        path.write_text(str(self.key.extract_certificate()))
        return path

    def source(self, version: str, files: Mapping[str, str], archive: str = "debian") -> Package:
        """Put a kernel source of these files (path: text) into an archive's pool."""
        inside = f"pool/main/l/linux/{SOURCE}_{version}_all.deb"
        path = self.root / archive / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        _pack(version, files, path)
        content = path.read_bytes()
        return Package(SOURCE, version, inside, hashlib.sha256(content).hexdigest(), len(content))

    def publish(self, suite: str, *packages: Package, archive: str = "debian", key: Tsk | None = None) -> None:
        """Make or replace a suite whose component main has these packages."""
        folder = self.root / archive / "dists" / suite
        index = folder / "main/binary-amd64/Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text("\n".join(_entry(package) for package in packages))
        content = index.read_bytes()
        release = (
            f"Suite: {suite}\nCodename: {suite}\nDate: {datetime.now(UTC):%a, %d %b %Y %H:%M:%S} UTC\n"
            "Architectures: amd64\nComponents: main\nSHA256:\n"
            f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-amd64/Packages\n"
        )
        signed = sign((key or self.key).signer(), release.encode(), mode=SignatureMode.CLEAR)
        (folder / "InRelease").write_bytes(signed)

    def dated(self, package: Package, time: str) -> None:
        """Move the package's file out of the pool: only the mirror of that time has it from now on."""
        target = self.root / "snapshot" / time / package.path
        target.parent.mkdir(parents=True)
        shutil.move(self.root / "debian" / package.path, target)


def _entry(package: Package) -> str:
    return (
        f"Package: {package.name}\nVersion: {package.version}\nArchitecture: all\nMaintainer: tests\n"
        f"Filename: {package.path}\nSize: {package.size}\nSHA256: {package.sha256}\nDescription: a kernel's source\n"
    )


def _pack(version: str, files: Mapping[str, str], target: Path) -> None:
    """A package as Debian's: the source lies in it as /usr/src/linux-source-6.12.tar.xz."""
    folder = target.with_suffix(".d")
    (folder / "DEBIAN").mkdir(parents=True)
    (folder / "usr/src").mkdir(parents=True)
    control = f"Package: {SOURCE}\nVersion: {version}\nArchitecture: all\nMaintainer: tests\nDescription: a source\n"
    (folder / "DEBIAN/control").write_text(control)
    with tarfile.open(folder / f"usr/src/{SOURCE}.tar.xz", "w:xz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{SOURCE}/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", folder, target], check=True, capture_output=True
    )
    shutil.rmtree(folder)


@contextmanager
def small_archive(root: Path) -> Iterator[SmallArchive]:
    """An archive without suites, served until the end of the block."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *_: object) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield SmallArchive(root, f"http://127.0.0.1:{server.server_port}", asked)
        finally:
            server.shutdown()
            serving.join()
