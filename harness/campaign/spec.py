"""Campaign files: what is measured on which hosts (docs/reference/campaign-file.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BeforeValidator, Field

from harness import stacks
from harness.config import FileModel, Lines, Loc, key_name, load, nearest
from harness.errors import InputError
from harness.guests.model import USUAL, Disengagement
from harness.hosts.inventory import Inventory
from harness.hosts.model import Host
from harness.results.model import Fidelity
from harness.workloads.spec import Workload, as_tuple

# Stacks on which workloads run without a hypervisor: nothing answers a VM exit there.
WITHOUT_HYPERVISOR = frozenset({"nohype", "bare"})


class GuestSize(FileModel):
    """What every guest of the campaign gets, whatever the stack."""

    vcpus: int = Field(default=1, ge=1, le=1024)
    memory_mib: int = Field(default=512, ge=64, le=16 * 1024 * 1024)
    icr: Literal["closed", "open"] | None = None  # of guests that leave their hypervisor


class WorkloadUse(FileModel):
    """One workload of the campaign. `seconds` replaces the workload's own, `repeats` is within each boot."""

    name: str
    seconds: int | None = Field(default=None, ge=1, le=3600)
    repeats: int = Field(default=1, ge=1, le=1000)


class Deadlines(FileModel):
    """Seconds that may pass until a guest's SSH answers, a host is up after a power cycle, a guest has disengaged."""

    guest_boot: int = Field(default=180, ge=1, le=3600)
    host_boot: int = Field(default=600, ge=1, le=7200)
    disengage: int = Field(default=120, ge=1, le=3600)


class CampaignSpec(FileModel):
    """A campaign file. `boots` is how often each host is booted into each stack: the number of blocks of each.

    `baseline` is the stack every other one is compared with where nobody asks for another.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")
    description: str = ""
    hosts: str
    stacks: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    baseline: str | None = None
    boots: int = Field(ge=1, le=1000)
    guest: GuestSize = GuestSize()
    workloads: Annotated[tuple[WorkloadUse, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    power_cycle: Literal["once", "never"] = "once"
    deadlines: Deadlines = Deadlines()

    @property
    def disengagement(self) -> Disengagement:
        """How the campaign's guests leave their hypervisor, where a stack lets them."""
        return Disengagement(self.guest.icr or USUAL.icr, float(self.deadlines.disengage))


@dataclass(frozen=True)
class Campaign:
    """A campaign file that was read and found to fit its workloads and its inventory."""

    spec: CampaignSpec
    text: str  # of the file, to the letter
    lines: Lines
    hosts: tuple[Host, ...]
    workloads: Mapping[str, Workload]  # those it uses

    @property
    def fidelity(self) -> Fidelity:
        return self.hosts[0].fidelity

    def wrong(self, loc: Loc, message: str, fix: str = "") -> InputError:
        """An error about the place `loc` of the file."""
        return InputError(f"{key_name(loc)}: {message}", where=self.lines.where(loc), fix=fix)


def load_campaign(path: Path, workloads: Mapping[str, Workload], inventory: Inventory) -> Campaign:
    """Read a campaign file and check all that can be checked without asking a host.

    Raises InputError naming file, line, key and the nearest right name.
    """
    spec, lines = load(path, CampaignSpec)
    try:
        hosts = inventory.select(spec.hosts)
    except InputError as error:
        message = f"hosts: {error.what} (inventory {inventory.path})"
        raise InputError(message, where=lines.where(("hosts",)), fix=error.fix) from None
    used = {use.name: workloads[use.name] for use in spec.workloads if use.name in workloads}
    campaign = Campaign(spec, path.read_text(encoding="utf-8"), lines, hosts, used)
    _check_stacks(campaign)
    _check_icr(campaign)
    _check_workloads(campaign, workloads)
    _check_fidelity(campaign)
    return campaign


def usual_baseline(text: str, stacks_run: Iterable[str]) -> str:
    """The stack to compare with where nobody asks for one: the campaign file's, else kvm, else the first by name.

    `text` is the file as it was when the campaign was run, perhaps by another version of the harness; `stacks_run` are
    those that have trials.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        document = None
    named = document.get("baseline") if isinstance(document, dict) else None
    if isinstance(named, str):
        return named
    found = sorted(stacks_run)
    return found[0] if found and "kvm" not in found else "kvm"


def _check_stacks(campaign: Campaign) -> None:
    names = campaign.spec.stacks
    for place, name in enumerate(names):
        if name not in stacks.names():
            known = ", ".join(stacks.names())
            message = f"unknown stack {name!r}{nearest(name, stacks.names())}"
            raise campaign.wrong(("stacks", place), message, f"known stacks: {known}")
        if name in names[:place]:
            raise campaign.wrong(("stacks", place), f"stack {name!r} is named twice")
    baseline = campaign.spec.baseline
    if baseline is not None and baseline not in names:
        message = f"{baseline!r} is none of the campaign's stacks{nearest(baseline, names)}"
        raise campaign.wrong(("baseline",), message, f"its stacks: {', '.join(names)}")


def _check_icr(campaign: Campaign) -> None:
    size, leaving = campaign.spec.guest, stacks.LEAVES_HYPERVISOR
    if leaving not in campaign.spec.stacks:
        if size.icr is not None:
            message = f"it concerns guests of stack {leaving!r}, which is none of the campaign's stacks"
            raise campaign.wrong(("guest", "icr"), message, "remove it")
        return
    try:
        campaign.spec.disengagement.check(size.vcpus)
    except InputError as error:
        raise campaign.wrong(("guest", "vcpus"), f"stack {leaving!r}: {error.what}", error.fix) from None


def _check_workloads(campaign: Campaign, known: Mapping[str, Workload]) -> None:
    uses = campaign.spec.workloads
    for place, use in enumerate(uses):
        where: Loc = ("workloads", place, "name")
        if use.name not in known:
            message = f"unknown workload {use.name!r}{nearest(use.name, known)}"
            raise campaign.wrong(where, message, f"known workloads: {', '.join(known)}")
        if use.name in [other.name for other in uses[:place]]:
            raise campaign.wrong(where, f"workload {use.name!r} is named twice", "use repeats to run it more often")
        workload = known[use.name]
        if workload.runs == "boot" and use.seconds is not None:
            raise campaign.wrong(
                ("workloads", place, "seconds"), f"workload {use.name!r} takes as long as a boot takes", "remove it"
            )
        if workload.needs.vcpus > campaign.spec.guest.vcpus:
            message = f"workload {use.name!r} needs {workload.needs.vcpus} vCPUs, guests have "
            raise campaign.wrong(where, f"{message}{campaign.spec.guest.vcpus}", "raise guest.vcpus")
        without = [stack for stack in campaign.spec.stacks if stack in WITHOUT_HYPERVISOR]
        if workload.needs.hypervisor and without:
            raise campaign.wrong(
                where,
                f"workload {use.name!r} makes VM exits on purpose, and stack {without[0]!r} runs workloads without a "
                "hypervisor",
                f"take the workload or {' and '.join(without)} out; a campaign of its own may have it",
            )


def _check_fidelity(campaign: Campaign) -> None:
    by_fidelity = {host.fidelity: host.name for host in campaign.hosts}
    if len(by_fidelity) > 1:
        named = ", ".join(f"{name} is {fidelity}" for fidelity, name in sorted(by_fidelity.items()))
        raise campaign.wrong(
            ("hosts",), f"hosts of different fidelity: {named}", "make a campaign for each: they cannot be compared"
        )
