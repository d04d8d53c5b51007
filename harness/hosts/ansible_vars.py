"""Ask Ansible itself what an inventory says. Run as a program, so that Ansible's global state and its warnings stay
out of the harness: `python -m harness.hosts.ansible_vars INVENTORY` prints one JSON document.

`ansible-inventory --list` would do but for templates: it prints `{{ ... }}` as it stands.
"""

from __future__ import annotations

import json
import sys

# Variables the harness uses. Others stay in Ansible: they may be secrets, and a vaulted one could not be read here.
WANTED = (
    "ansible_host",
    "ansible_port",
    "ansible_user",
    "ansible_ssh_private_key_file",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_host_key_checking",
    "ansible_ssh_host_key_checking",
)
PREFIX = "nohype_"


def main(source: str) -> None:
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar
    from ansible.vars.manager import VariableManager

    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[source])
    manager = VariableManager(loader=loader, inventory=inventory)
    hosts: dict[str, dict[str, object]] = {}
    errors: dict[str, tuple[str, str]] = {}
    for host in inventory.get_hosts("all"):
        variables = manager.get_vars(host=host, include_hostvars=False)
        templar = Templar(loader=loader, variables=variables)
        found: dict[str, object] = {}
        for key in variables:
            if key in WANTED or key.startswith(PREFIX):
                try:
                    found[str(key)] = templar.template(variables[key])
                except Exception as error:  # Ansible's errors have no narrower common base that is public
                    errors[str(host.name)] = (str(key), str(error).splitlines()[0])
        hosts[str(host.name)] = found
    groups = {str(name): [str(host.name) for host in group.get_hosts()] for name, group in inventory.groups.items()}
    json.dump({"hosts": hosts, "groups": groups, "errors": errors}, sys.stdout, default=str)


if __name__ == "__main__":
    main(sys.argv[1])
