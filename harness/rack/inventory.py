"""Write the Ansible inventory of a running rack: from here on its hosts are hosts like any other."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import yaml

from harness.rack.bmc import USER as BMC_USER
from harness.rack.bmc import password_file
from harness.rack.description import RackDescription
from harness.rack.image import HOST_USER, RACK_CMDLINE
from harness.rack.layout import EXPORTER_PORT, IPMI_PORT, Slot, rack_dir, rack_inventory
from harness.results.model import Fidelity

_HEADER = "# Written by `nohype rack up`; overwritten by the next one. Description: see the rack file.\n"


def write_inventory(rack: RackDescription, slots: list[Slot], private_key: Path, host_keys: list[str]) -> Path:
    """Write inventory and known_hosts; the inventory's path. Host keys come from the image, not from the network."""
    known_hosts = rack_dir() / "known_hosts"
    lines = [f"{slot.address} {key}\n" for slot in slots for key in host_keys]
    _replace(known_hosts, "".join(lines))
    fidelity = Fidelity.EMULATED_ICOUNT if rack.deterministic else Fidelity.EMULATED
    hosts = {}
    for slot, host in zip(slots, rack.hosts, strict=True):
        hosts[slot.name] = {
            "ansible_host": slot.address,
            "nohype_bmc": {
                "kind": "ipmi",
                "address": slot.bmc_address,
                "port": IPMI_PORT,
                "user": BMC_USER,
                "password_file": str(password_file(rack_dir())),
            },
            "nohype_data_address": f"10.78.{slot.number}.1/16",
            "nohype_bridge_address": f"10.79.{slot.number}.1/24",
            "nohype_vfs": host.vfs,
            "nohype_isolated_cores": host.isolated_list,
            "nohype_hugepages_2m": host.hugepages_2m,
        }
    common = {
        "ansible_port": 22,
        "ansible_user": HOST_USER,
        "ansible_ssh_private_key_file": str(private_key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes",
        "nohype_known_hosts": str(known_hosts),
        "nohype_fidelity": fidelity.value,
        "nohype_data_pf": "data0",
        "nohype_extra_cmdline": RACK_CMDLINE,
        "nohype_extra_xen_cmdline": "com1=115200,8n1 console=com1",
        "nohype_dom0_memory_mib": 1024,
        "nohype_exporter_port": EXPORTER_PORT,
    }
    document = {"all": {"children": {"nohype_hosts": {"hosts": hosts, "vars": common}}}}
    _replace(rack_inventory(), _HEADER + yaml.safe_dump(document, sort_keys=False))
    return rack_inventory()


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(scratch).replace(path)
