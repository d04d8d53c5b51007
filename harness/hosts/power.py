"""Switch hosts on and off by their BMC."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, Protocol

from harness.errors import HarnessError, HostError, UnavailableError
from harness.hosts.model import Bmc, Host
from harness.toolbox.process import run
from harness.wait import until

_REPLY_SECONDS = 60.0
_SWITCH_SECONDS = 60.0  # some BMCs sequence their power supplies for tens of seconds


class PowerController(Protocol):
    """What can be done to a host's power."""

    def on(self) -> None: ...

    def off(self) -> None:
        """At once, as pulling the plug would."""

    def cycle(self) -> None:
        """Off, then on; also for a host that is off."""

    def status(self) -> Literal["on", "off"]: ...


def controller(host: Host) -> PowerController:
    """The host's power switch. Raises UnavailableError where it has none, or one of a kind not supported yet."""
    if host.bmc is None:
        raise UnavailableError(
            "no BMC", where=host.name, fix="give the host nohype_bmc in the inventory, if it has one"
        )
    if host.bmc.kind != "ipmi":
        raise UnavailableError(
            f"BMCs of kind {host.bmc.kind!r} are not supported yet",
            where=host.name,
            fix="most Redfish BMCs speak IPMI as well: switch IPMI over LAN on there, and use kind: ipmi",
        )
    return IpmiController(host.name, host.bmc)


@dataclass(frozen=True)
class IpmiController:
    """IPMI 2.0 over LAN, by ipmitool."""

    host_name: str
    bmc: Bmc

    def on(self) -> None:
        """Raises HostError when the BMC refuses, does not answer, or the power does not come on."""
        self._ask("chassis", "power", "on")
        self._await("on")

    def off(self) -> None:
        """Raises HostError as `on` does."""
        self._ask("chassis", "power", "off")
        self._await("off")

    def cycle(self) -> None:
        """Raises HostError as `on` does."""
        # Not `chassis power cycle`: BMCs refuse that for a host that is off.
        if self.status() == "on":
            self.off()
        self.on()

    def status(self) -> Literal["on", "off"]:
        """Raises HostError when the BMC does not say."""
        answer = self._ask("chassis", "power", "status")
        word = answer.strip().rpartition(" ")[2]
        if word == "on":
            return "on"
        if word == "off":
            return "off"
        raise HostError(f"BMC says {answer.strip()!r} about its power", where=self._where())

    def _await(self, wanted: str) -> None:
        until(
            lambda: self.status() == wanted,
            seconds=_SWITCH_SECONDS,
            what=f"power {wanted}",
            where=self._where(),
            interval=0.5,
        )

    def _ask(self, *words: str) -> str:
        argv, environment = ipmitool(self.host_name, self.bmc, *words)
        try:
            return run(argv, timeout=_REPLY_SECONDS, env=environment)
        except UnavailableError:
            raise
        except HarnessError as error:
            raise HostError(
                f"BMC did not do `{' '.join(words)}`: {' '.join(error.what.split())}",
                where=self._where(),
                fix="see that it answers ping, that IPMI over LAN is on there, and that user and password are right",
            ) from None

    def _where(self) -> str:
        return f"{self.host_name} (BMC {self.bmc.address}:{self.bmc.port})"


def ipmitool(host_name: str, bmc: Bmc, *words: str) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of an ipmitool call. The password is never among the arguments: anyone may read those.

    Raises UnavailableError where the inventory tells no password or its file or variable is missing.
    """
    argv = ["ipmitool", "-I", "lanplus", "-H", bmc.address, "-p", str(bmc.port), "-U", bmc.user, "-N", "2", "-R", "3"]
    if bmc.password_file is not None:
        if not os.access(bmc.password_file, os.R_OK):
            raise UnavailableError(
                "the BMC's password file cannot be read",
                where=f"{host_name}: {bmc.password_file}",
                fix="make it, mode 0600",
            )
        return [*argv, "-f", str(bmc.password_file), *words], {}
    if not bmc.password_env:
        raise UnavailableError(
            "no BMC password", where=host_name, fix="give nohype_bmc a password_file or a password_env in the inventory"
        )
    password = os.environ.get(bmc.password_env)
    if not password:
        raise UnavailableError(
            "no BMC password", where=host_name, fix=f"set the environment variable {bmc.password_env} to it"
        )
    return [*argv, "-E", *words], {"IPMI_PASSWORD": password}
