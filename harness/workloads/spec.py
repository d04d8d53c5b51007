"""Workloads as data: what one needs, how it runs, and which figures come out (docs/reference/workload-file.md)."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from harness.config import FileModel, load, nearest
from harness.errors import InputError
from harness.paths import repo_root
from harness.results.model import Direction

# What may stand in braces in a command.
PLACEHOLDERS = ("seconds", "vcpus", "gateway", "port")
# What the engine tells about the boot of a guest, in seconds; `parse: {json: ...}` of a boot workload names one.
BOOT_FIGURES = ("start_to_ssh", "start", "kernel_to_ssh")


def as_tuple(value: object) -> object:
    """For fields that are lists in YAML and tuples here."""
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list such as [a, b]")
    return tuple(value)


def _placeholders(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        try:
            names = [name for _, name, _, _ in string.Formatter().parse(word) if name is not None]
        except ValueError as error:
            raise ValueError(f"{word!r}: {error}; write {{{{ and }}}} for braces") from None
        for name in names:
            if name not in PLACEHOLDERS:
                known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
                raise ValueError(f"unknown placeholder {{{name}}}{nearest(name, PLACEHOLDERS)}; known: {known}")
    return words


Argv = Annotated[
    tuple[str, ...], BeforeValidator(as_tuple), AfterValidator(_placeholders), Field(min_length=1, strict=True)
]
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]


class Parse(FileModel):
    """Where a figure stands in the output: `json` a path such as `end.sum_received.bits_per_second`, or `regex`."""

    json_path: str = Field(default="", alias="json")
    regex: str = ""
    scale: float = 1.0

    @field_validator("regex")
    @classmethod
    def _one_group(cls, text: str) -> str:
        try:
            groups = re.compile(text).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if text and groups != 1:
            raise ValueError(f"must have one group, around the figure; it has {groups}")
        return text

    @model_validator(mode="after")
    def _one_way(self) -> Parse:
        if bool(self.json_path) == bool(self.regex):
            raise ValueError("give either json or regex")
        return self


class Metric(FileModel):
    """One figure of the output."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    unit: str
    direction: Literal["higher", "lower", "neither"]
    parse: Parse

    @property
    def better(self) -> Direction:
        return Direction(self.direction)


class Needs(FileModel):
    """What must be there: programs in the guest and on the host, vCPUs, a network between the two, a hypervisor.

    `hypervisor` is for workloads that make VM exits on purpose: it keeps them from guests that an exit would kill.
    """

    guest: Names = ()
    host: Names = ()
    vcpus: int = Field(default=1, ge=1)
    network: bool = False
    hypervisor: bool = False


class Workload(FileModel):
    """A workload file.

    `runs` tells where `command` runs: in the `guest`, on its `host` (the guest is left alone meanwhile), or nowhere:
    `boot` means that the boot of a guest is what is measured. `server` runs on the host until the command has ended.
    `seconds` is how long the command is asked to run, `timeout` how many seconds more it may take.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    title: str
    description: str
    runs: Literal["guest", "host", "boot"] = "guest"
    needs: Needs = Needs()
    command: Argv | None = None
    server: Argv | None = None
    seconds: int = Field(default=10, ge=1, le=3600)
    timeout: int = Field(default=60, ge=1, le=3600)
    metrics: Annotated[tuple[Metric, ...], BeforeValidator(as_tuple)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Workload:
        if self.runs == "boot":
            if self.command or self.server:
                raise ValueError("command and server: a workload that runs: boot has none")
            for metric in self.metrics:
                if metric.parse.json_path not in BOOT_FIGURES:
                    known = ", ".join(BOOT_FIGURES)
                    raise ValueError(f"metrics: {metric.name}: of a boot there are, by json: {known}")
        elif not self.command:
            raise ValueError("command: this key is required (unless runs: boot)")
        if self.server and not self.needs.network:
            raise ValueError("server: needs.network must be true for a workload with a server")
        names = [metric.name for metric in self.metrics]
        twice = next((name for name in names if names.count(name) > 1), "")
        if twice:
            raise ValueError(f"metrics: {twice!r} is there twice")
        return self


def load_workload(path: Path) -> Workload:
    """Read and check one workload file. Raises InputError naming file, line and key."""
    workload, lines = load(path, Workload)
    if workload.name != path.stem:
        raise InputError(
            f"name: {workload.name!r} in a file called {path.name!r}: they must agree",
            where=lines.where(("name",)),
            fix=f"call the file {workload.name}.yml, or the workload {path.stem}",
        )
    return workload


def load_workloads(folder: Path | None = None) -> dict[str, Workload]:
    """Every workload of `folder` (default: the repository's `workloads/`), by name. Raises InputError."""
    chosen = folder or repo_root() / "workloads"
    found = [load_workload(path) for path in sorted(chosen.glob("*.yml"))]
    if not found:
        raise InputError("there are no workload files (*.yml)", where=str(chosen))
    return {workload.name: workload for workload in found}
