#!/usr/bin/python3
"""Ansible module: small files, all in one call."""

from __future__ import annotations

import stat
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: nohype_files
short_description: Write small files, all in one call
description:
  - M(ansible.builtin.template) takes two calls for each file. On an emulated host a call takes 0.4 to 2.5 seconds, and
    a host has some fifteen such files.
  - A file appears whole or not at all. Folders above it are made. Its mode is 0644, its owner who runs this.
options:
  files:
    type: dict
    required: true
    description: Content by path.
  state:
    type: str
    choices: [present, withdrawn]
    default: present
    description: With V(withdrawn) those of other content are removed, and none is written.
author: NoHype testbed
"""
RETURN = r"""
paths:
  type: list
  elements: str
  returned: always
  description: The files that were written or removed.
"""

MODE = 0o644


def read(path: Path) -> tuple[bytes, int] | None:
    """Content and mode of a file; None where there is none."""
    try:
        return path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.nohype-new")  # one that an earlier run left behind is overwritten
    draft.write_bytes(content)
    draft.chmod(MODE)
    draft.replace(path)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "dict", "required": True},
            "state": {"type": "str", "choices": ["present", "withdrawn"], "default": "present"},
        },
        supports_check_mode=True,
    )
    withdraw = module.params["state"] == "withdrawn"
    changed = []
    try:
        for name, text in sorted(module.params["files"].items()):
            path, content = Path(name), text.encode()
            found = read(path)
            if (found is None or found[0] == content) if withdraw else found == (content, MODE):
                continue
            changed.append(name)
            if module.check_mode:
                continue
            if withdraw:
                path.unlink()
            else:
                write(path, content)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}", paths=changed)
    module.exit_json(changed=bool(changed), paths=changed)


if __name__ == "__main__":
    main()
