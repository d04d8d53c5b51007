"""The variables of a host in an inventory, typed and checked."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from harness.config import FileModel, nearest
from harness.results.model import Fidelity


def _full_path(text: str) -> str:
    """Ansible takes relative paths from the working folder, which would make an inventory mean two things."""
    if not Path(text).expanduser().is_absolute():
        raise ValueError("must be a full path (~ and {{ inventory_dir }} may be used)")
    return text


def _one_of(*allowed: str) -> AfterValidator:
    def check(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}{nearest(text, allowed)}")
        return text

    return AfterValidator(check)


FullPath = Annotated[str, AfterValidator(_full_path)]
Port = Annotated[int, Field(ge=1, le=65535)]


class BmcVariables(FileModel):
    """`nohype_bmc`: how to reach the host's BMC. The password itself never stands in an inventory."""

    kind: Annotated[str, _one_of("ipmi", "redfish")]
    address: str
    port: Port = 623  # RMCP, IPMI 2.0 specification section 13.1.2
    user: str
    password_env: str = ""
    password_file: FullPath | None = None
    console: str = ""

    @field_validator("console")
    @classmethod
    def _console(cls, text: str) -> str:
        if text and not re.fullmatch(r".+:\d+", text):
            raise ValueError("must be ADDRESS:PORT")
        return text


class ExporterWeb(FileModel):
    """`nohype_exporter_web`: TLS, and a password if wanted, for the host's exporter. Files are the control node's."""

    cert: FullPath  # for the host's address; brought to the host, with its key
    key: FullPath
    ca: FullPath  # by which Prometheus knows the certificate
    user: str = ""
    password_hash: str = ""  # bcrypt's, as in a web configuration of Prometheus
    password_file: FullPath | None = None

    @model_validator(mode="after")
    def _whole(self) -> ExporterWeb:
        given = [bool(self.user), bool(self.password_hash), self.password_file is not None]
        if any(given) and not all(given):
            raise ValueError("user, password_hash and password_file belong together")
        if self.password_hash and not self.password_hash.startswith("$2"):
            raise ValueError("password_hash must be bcrypt's (htpasswd -nBC 10 '' prints one)")
        return self


class HostVariables(FileModel):
    """Every variable the harness or its playbooks know of; others that begin with `nohype_` are refused."""

    ansible_host: str
    ansible_port: Port = 22
    ansible_user: str
    ansible_ssh_private_key_file: FullPath
    nohype_known_hosts: FullPath
    nohype_fidelity: Annotated[str, _one_of(*Fidelity)]
    nohype_bmc: BmcVariables | None = None
    nohype_data_pf: str = ""  # netdev name or PCI address of the SR-IOV physical function
    nohype_data_address: str = ""  # the host's own on the data network, with prefix length
    nohype_bridge_address: str = ""  # of the host-only bridge for virtio guests, with prefix length
    nohype_vfs: Annotated[int, Field(ge=0)] = 0
    nohype_isolated_cores: str = ""  # as on the kernel command line: "2-3,6"
    nohype_hugepages_2m: Annotated[int, Field(ge=0)] = 0
    nohype_kernel_release: str = ""  # of a NoHype kernel the host has from packages (nohype kernel package)
    nohype_exporter_port: Port = 9177
    nohype_exporter_listen: str = ""  # an address of the host; "" is all of them but the guests' networks
    nohype_exporter_web: ExporterWeb | None = None
    nohype_extra_cmdline: str = ""
    nohype_extra_xen_cmdline: str = ""  # of Xen itself, e.g. its serial console
    nohype_dom0_memory_mib: Annotated[int, Field(ge=512)] = 2048  # of Xen's control domain

    @field_validator("nohype_data_address", "nohype_bridge_address")
    @classmethod
    def _interface(cls, text: str) -> str:
        if text and "/" not in text:
            raise ValueError("needs its prefix length, e.g. 10.78.1.1/16")
        if text:
            ipaddress.ip_interface(text)
        return text

    @field_validator("nohype_exporter_listen")
    @classmethod
    def _listen(cls, text: str) -> str:
        if text:
            ipaddress.ip_address(text)
        return text

    @field_validator("nohype_kernel_release")
    @classmethod
    def _release(cls, text: str) -> str:
        if text and not re.fullmatch(r"\d[A-Za-z0-9.+_~-]*-nohype", text):
            raise ValueError("must be the release of a NoHype kernel, such as 6.12.117-full-nohype")
        return text

    @field_validator("nohype_isolated_cores")
    @classmethod
    def _cores(cls, text: str) -> str:
        if text and not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
            raise ValueError("must be a list of cores such as 2-3,6")
        return text
