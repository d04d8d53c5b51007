"""Packages of Debian archives, got by apt, which knows proxies, checks signatures and hashes, and tries again.

Nothing of this machine's apt is changed, and no root is needed.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UnavailableError
from harness.toolbox.cache import cached
from harness.toolbox.debian import keyring, mirror
from harness.toolbox.process import attempt, run

# Debian's archive as it was at a time: the address, a time as 20261129T000000Z, and the path within the archive.
DEFAULT_SNAPSHOT = "http://snapshot.debian.org/archive/debian"
_HELPER = "/usr/lib/apt/apt-helper"  # downloads as apt does; part of package apt
_OPTIONS = ("-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "-o", "Acquire::http::Timeout=30")
_PLAIN = {"LC_ALL": "C.UTF-8"}  # what apt says is read
# Read after this machine's own. Its hooks are meant for its own lists; an index that could not be had is an error here.
_APT_CONF = """\
#clear APT::Update;
#clear Dir::Etc::preferencesparts;
APT::Update::Error-Mode "any";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
Acquire::Languages "none";
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""


@dataclass(frozen=True)
class Package:
    """One version of a package, as an archive's index has it."""

    name: str
    version: str
    path: str  # within the archive: pool/main/...
    sha256: str
    size: int  # bytes


def snapshot() -> str:
    """The archive of dated mirrors: NOHYPE_DEBIAN_SNAPSHOT, by default Debian's."""
    return os.environ.get("NOHYPE_DEBIAN_SNAPSHOT") or DEFAULT_SNAPSHOT


def security_mirror() -> str | None:
    """Where the mirror in use has Debian's security updates: `debian-security` in place of `debian` in its address."""
    found = re.sub(r"^(\w+://[^/]+(?:/[^/]+)*?)/debian(?=/|$)", r"\1/debian-security", mirror())
    return found if found != mirror() else None


def newest(name: str, archive: str, suite: str) -> Package | None:
    """The newest version of package `name` in component main of a suite, None where the suite does not have it.

    Raises UnavailableError where there is no such suite, it cannot be reached, or its signature is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="nohype-apt-") as folder:
        options = _private_apt(Path(folder), f"deb [signed-by={keyring()}] {archive} {suite} main")
        try:
            run(["apt-get", *options, "-q", "update"], timeout=300, env=_PLAIN)
        except HarnessError as error:
            raise UnavailableError(
                f"cannot be used: {_reason(error)}",
                where=f"{archive} {suite}",
                fix="is that address reachable from here? NOHYPE_DEBIAN_MIRROR names another mirror",
            ) from None
        shown = attempt(["apt-cache", *options, "show", "--no-all-versions", name], env=_PLAIN)
    if shown.returncode != 0 and "No packages found" in shown.stderr:
        return None
    fields = dict(re.findall(r"^([\w-]+): (.*)$", shown.stdout, re.MULTILINE))
    return Package(name, fields["Version"], fields["Filename"], fields["SHA256"], int(fields["Size"]))


def later(version: str, other: str) -> bool:
    """Whether `version` is a later one than `other`, by Debian's rules."""
    return attempt(["dpkg", "--compare-versions", version, "gt", other]).returncode == 0


def fetched(package: Package, archives: Sequence[str]) -> Path:
    """The package's file: from the cache, else from the first of the archives that has it with the right hash.

    Raises UnavailableError with what each of them said.
    """
    file = Path(package.path).name

    def fill(folder: Path) -> None:
        refusals = []
        for archive in archives:
            address = f"{archive.rstrip('/')}/{package.path}"
            try:
                words = ("download-file", address, str(folder / file), f"SHA256:{package.sha256}")
                run([_HELPER, *_OPTIONS, *words], env=_PLAIN)
                return
            except UnavailableError:
                raise
            except HarnessError as error:
                for left_over in folder.iterdir():
                    left_over.unlink()  # of a wrong hash, or cut off
                refusals.append(f"  {address}: {_reason(error)}")
        raise UnavailableError(
            f"{package.name} {package.version} was found nowhere with the right hash:\n" + "\n".join(refusals),
            where=file,
            fix="name archives that have it: NOHYPE_DEBIAN_MIRROR, or NOHYPE_DEBIAN_SNAPSHOT for dated mirrors",
        )

    return cached(package.name, package.sha256[:16], fill) / file


def _private_apt(folder: Path, source: str) -> list[str]:
    """Options by which apt knows of nothing but one source, and writes into `folder` alone.

    Its proxies stay as this machine has them.
    """
    for made in ("lists/partial", "archives/partial"):
        (folder / made).mkdir(parents=True)
    (folder / "status").touch()  # no package is installed
    (folder / "sources.list").write_text(source + "\n", encoding="utf-8")
    conf = folder / "apt.conf"
    conf.write_text(_APT_CONF.format(folder=folder), encoding="utf-8")
    return ["-c", str(conf), *_OPTIONS]


def _reason(error: HarnessError) -> str:
    """What apt complained of, without the address that is told already; and what it has against a signature."""
    said = re.findall(r"^(?:E: (?:Failed to fetch \S+ +)?|W: (?=GPG error))(.+)$", error.what, re.MULTILINE)
    return "; ".join(line.strip() for line in said if line != "Download Failed") or error.what
