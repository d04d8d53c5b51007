"""The BMC of an emulated server: OpenIPMI's ipmi_sim, IPMI 2.0 over LAN with serial-over-LAN."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from harness.rack.layout import BMC_VM_PORT, CONSOLE_PORT, IPMI_PORT, Slot

USER = "admin"

# The smallest board that answers chassis commands: one management controller with a watchdog sensor.
EMULATION = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
sensor_add 0x20 0 0 35 0x6f event-only
mc_enable 0x20
"""


def password_file(folder: Path) -> Path:
    """The rack's BMC password, random, mode 0600; made on first use."""
    path = folder / "bmc-password"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(8) + "\n")  # 16 characters: the most an IPMI 1.5 field holds
    return path


def lan_conf(slot: Slot, power_on: Path, password: str) -> str:
    """ipmi_sim's configuration (ipmi_lan(5)). An off command kills the server at once, as pulling the plug would."""
    return f"""\
name "{slot.name}"
set_working_mc 0x20
  startlan 1
    addr {slot.bmc_address} {IPMI_PORT}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid 6e6f6879706540{slot.number:02x}a573740000000000
  endlan
  serial 15 {slot.bmc_address} {BMC_VM_PORT} codec VM
  startcmd "{power_on}"
  startnow false
  poweroff_wait 1
  kill_wait 1
  sol "telnet:{slot.bmc_address}:{CONSOLE_PORT}" 115200
  user 1 false "" "" user 10 none md2 md5 straight
  user 2 true "{USER}" "{password}" admin 10 none md2 md5 straight
"""


def ipmi_sim_argv(folder: Path) -> list[str]:
    return [
        *("ipmi_sim", "-c", str(folder / "lan.conf"), "-f", str(folder / "board.emu")),
        *("-s", str(folder / "bmc-state"), "-n"),
    ]
