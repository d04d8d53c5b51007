"""The systemd unit of the controller (docs/how-to/nightlies.md, Rights).

As root it is a unit of the system: campaigns run Prometheus in a Debian root of their own, which takes mounts and a
chroot, and nothing else of root's powers. As any other user it is a unit of that user, without any.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UnavailableError
from harness.paths import cache_dir, repo_root, state_dir
from harness.toolbox.process import run

UNIT = "nohype-nightly.service"
# A campaign stops after its current step. A trial may take an hour; one whose controller is killed is run again.
_STOP_SECONDS = 300

_COMMON = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
UMask=0077
"""
# CAP_SYS_ADMIN, CAP_SYS_CHROOT: Prometheus' own root. CAP_DAC_OVERRIDE, CAP_FOWNER: checkout and files of other users.
_ROOT = """\
User=root
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_CHROOT CAP_DAC_OVERRIDE CAP_FOWNER
RestrictNamespaces=mnt
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={state} {cache}
PrivateTmp=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
"""
_UNIT = """\
# Written by: nohype nightly install
[Unit]
Description=NoHype testbed: nightly campaigns
Documentation=file://{docs}
Wants=network-online.target
After=network-online.target time-sync.target

[Service]
Type=exec
ExecStart={python} -c "from harness.cli import main; main()" nightly daemon
WorkingDirectory={place}
Environment={environment}
# Secrets of notifications and BMCs, and NOHYPE_DATABASE_URL; readable by its owner alone.
EnvironmentFile=-{secrets}
Restart=on-failure
RestartSec=60
# The controller hands the wish to stop to the campaign, and that ends its guests.
KillMode=mixed
TimeoutStopSec={stop}
{hardening}
[Install]
WantedBy={target}
"""


@dataclass(frozen=True)
class Service:
    """Where the unit is, and who runs it."""

    path: Path
    secrets: Path
    system: bool

    def systemctl(self, *words: str) -> list[str]:
        return ["systemctl", *([] if self.system else ["--user"]), *words]


def service() -> Service:
    """The unit of this user: the system's for root."""
    if os.geteuid() == 0:
        return Service(Path("/etc/systemd/system") / UNIT, Path("/etc/nohype/nightly.env"), system=True)
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Service(config / "systemd" / "user" / UNIT, config / "nohype" / "nightly.env", system=False)


def unit_text(one: Service) -> str:
    """The unit. It runs this checkout with the state and cache folders of now."""
    hardening = _COMMON
    if one.system:
        hardening += _ROOT.format(state=_quoted(state_dir()), cache=_quoted(cache_dir()))
    places = {"NOHYPE_STATE": state_dir(), "NOHYPE_CACHE": cache_dir()}
    return _UNIT.format(
        docs=repo_root() / "docs/how-to/nightlies.md",
        python=_quoted(Path(sys.executable)),
        place=str(state_dir()).replace("%", "%%"),
        environment=" ".join(_quoted(f"{name}={path}") for name, path in places.items()),
        secrets=one.secrets,
        stop=_STOP_SECONDS,
        hardening=hardening,
        target="multi-user.target" if one.system else "default.target",
    )


def start_service() -> Service:
    """Write the unit where it is missing or another one, and (re)start it. Raises UnavailableError without systemd."""
    one = service()
    _need_systemd(one)
    for folder in (state_dir(), cache_dir()):  # ReadWritePaths must be there
        folder.mkdir(parents=True, exist_ok=True)
    text = unit_text(one)
    if not one.path.exists() or one.path.read_text(encoding="utf-8") != text:
        one.path.parent.mkdir(parents=True, exist_ok=True)
        one.path.write_text(text, encoding="utf-8")
        run(one.systemctl("daemon-reload"))
        run(one.systemctl("restart", UNIT))
    run(one.systemctl("enable", "--now", UNIT))
    return one


def stop_service() -> bool:
    """Stop the unit and remove it; False where there was none."""
    one = service()
    if not one.path.exists():
        return False
    if systemd_runs(one):
        run(one.systemctl("disable", "--now", UNIT), timeout=_STOP_SECONDS + 60)
    one.path.unlink()
    if systemd_runs(one):
        run(one.systemctl("daemon-reload"))
    return True


def systemd_runs(one: Service) -> bool:
    """Whether there is a systemd to hand the unit to."""
    if shutil.which("systemctl") is None:
        return False
    done = subprocess.run(one.systemctl("is-system-running"), capture_output=True, text=True, check=False)
    return done.stdout.strip() not in ("offline", "unknown", "")


def _need_systemd(one: Service) -> None:
    if not systemd_runs(one):
        raise UnavailableError(
            "systemd does not run here" if one.system else "there is no systemd for this user",
            where=UNIT,
            fix="start the controller by other means: nohype nightly daemon (--no-service installs without a unit)",
        )


def _quoted(text: object) -> str:
    """A word of a unit file, whatever is in it."""
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"'
