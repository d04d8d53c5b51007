from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import HostError, UnavailableError
from harness.hosts.model import Bmc, Host
from harness.hosts.power import IpmiController, controller, ipmitool
from harness.results.model import Fidelity

SECRET = "correct horse"


def bmc(**changes: object) -> Bmc:
    fields = {
        "kind": "ipmi", "address": "192.0.2.101", "port": 623, "user": "admin", "password_env": "LAB_BMC",
    }  # fmt: skip
    return Bmc(**{**fields, **changes})  # type: ignore[arg-type]


def host(found: Bmc | None) -> Host:
    return Host("a", "192.0.2.1", 22, "u", Path("/k"), Path("/h"), Fidelity.SILICON, found)


def test_the_password_is_never_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_BMC", SECRET)
    argv, environment = ipmitool("a", bmc(), "chassis", "power", "status")
    assert not any(SECRET in word for word in argv)
    assert environment == {"IPMI_PASSWORD": SECRET}
    assert "-E" in argv
    file = tmp_path / "password"
    file.write_text(SECRET)
    argv, environment = ipmitool("a", bmc(password_file=file, password_env=""), "chassis", "power", "status")
    assert not any(SECRET in word for word in argv)
    assert environment == {}
    assert argv[argv.index("-f") + 1] == str(file)


def test_a_missing_password_says_how_to_give_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_BMC", raising=False)
    with pytest.raises(UnavailableError, match="set the environment variable LAB_BMC"):
        ipmitool("a", bmc())
    with pytest.raises(UnavailableError, match="password_file or a password_env"):
        ipmitool("a", bmc(password_env=""))
    with pytest.raises(UnavailableError, match="cannot be read"):
        ipmitool("a", bmc(password_file=tmp_path / "gone"))


def test_hosts_without_a_switch() -> None:
    with pytest.raises(UnavailableError, match="no BMC"):
        controller(host(None))
    with pytest.raises(UnavailableError, match="'redfish' are not supported"):
        controller(host(bmc(kind="redfish")))
    assert isinstance(controller(host(bmc())), IpmiController)


@pytest.fixture
def talking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ipmitool that keeps power in a file and prints what 1.8.19 prints; it fails when the file says so."""
    state = tmp_path / "state"
    program = tmp_path / "ipmitool"
    program.write_text(
        "#!/bin/sh\n"
        "for last; do :; done\n"
        f"now=$(cat {state})\n"
        '[ "$now" = dead ] && { echo "Error: Unable to establish IPMI v2 / RMCP+ session" >&2; exit 1; }\n'
        'case $last in status) echo "Chassis Power is $now";;\n'
        f'*) echo "$last" >{state}; echo "$last" >>{state}.log; echo "Chassis Power Control: Up/On";; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("LAB_BMC", SECRET)
    return state


def test_cycle_works_from_either_state(talking: Path) -> None:
    power = controller(host(bmc()))
    talking.write_text("on\n")
    power.cycle()
    assert (power.status(), talking.with_suffix(".log").read_text()) == ("on", "off\non\n")
    power.off()
    assert power.status() == "off"
    power.cycle()
    assert power.status() == "on"


def test_a_silent_bmc_is_the_hosts_error_without_the_secret(talking: Path) -> None:
    talking.write_text("dead\n")
    with pytest.raises(HostError, match="Unable to establish IPMI v2") as caught:
        controller(host(bmc())).status()
    assert SECRET not in str(caught.value)
    assert "192.0.2.101:623" in str(caught.value)
