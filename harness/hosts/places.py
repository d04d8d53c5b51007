"""Where in an inventory's files a host's variable is written, so that errors can name the line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.config import Loc, key_name
from harness.errors import InputError

_YAML = (".yml", ".yaml")


@dataclass(frozen=True)
class _Key:
    file: Path
    line: int
    loc: Loc


class Places:
    """Knows the lines of every key in an inventory, its group_vars and its host_vars (YAML files; others have none).

    Raises InputError when one of the files is not YAML or gives a key twice.
    """

    def __init__(self, inventory: Path) -> None:
        self._inventory = inventory
        home = inventory if inventory.is_dir() else inventory.parent
        own = sorted(inventory.iterdir()) if inventory.is_dir() else [inventory]
        self._main = [key for file in own if file.is_file() for key in _keys(file)]
        self._group_vars = [key for file in _files(home / "group_vars") for key in _keys(file)]
        self._host_vars = [(file, list(_keys(file))) for file in _files(home / "host_vars")]

    def where(self, host: str, loc: Loc) -> str:
        """`file:line` of the host's variable `loc`, of the nearest enclosing place otherwise."""
        while loc:
            key = self._find(host, loc)
            if key:
                return f"{key.file}:{key.line}"
            loc = loc[:-1]
        for key in self._main:
            if key.loc[-2:] == ("hosts", host):
                return f"{key.file}:{key.line}"
        return str(self._inventory)

    def _find(self, host: str, loc: Loc) -> _Key | None:
        """Nearest definition first, as Ansible has it: the host's own, then groups'."""
        for key in self._main:
            if key.loc[-len(loc) - 2 :] == ("hosts", host, *loc):
                return key
        for file, keys in self._host_vars:
            if host in (file.stem, file.parent.name):
                for key in keys:
                    if key.loc == loc:
                        return key
        for key in self._main:
            if key.loc[-len(loc) - 1 :] == ("vars", *loc):
                return key
        return next((key for key in self._group_vars if key.loc == loc), None)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _keys(file: Path) -> Iterator[_Key]:
    if file.suffix not in _YAML:
        return
    try:
        # Nodes only: constructing values would stumble over Ansible's own tags such as !vault.
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(
            f"not valid YAML: {error.problem or error.context}", where=f"{file}:{mark.line + 1 if mark else 1}"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot be read: {error}", where=str(file)) from None
    if root is not None:
        yield from _walk(root, (), file)


def _walk(node: yaml.Node, loc: Loc, file: Path) -> Iterator[_Key]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise InputError(f"key {key_name((*loc, name))!r} is given twice", where=f"{file}:{line}")
            seen.add(name)
            yield _Key(file, line, (*loc, name))
            yield from _walk(value, (*loc, name), file)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _walk(item, (*loc, number), file)
