"""The stacks: ways to run guests that campaigns compare. A stack is added by its module and one line here."""

from __future__ import annotations

from harness.config import nearest
from harness.errors import InputError
from harness.stacks.bare import Bare
from harness.stacks.base import Stack
from harness.stacks.kvm import Kvm
from harness.stacks.kvm_tuned import KvmTuned
from harness.stacks.nohype import NoHype
from harness.stacks.xen import XEN_PVH, Xen
from harness.stacks.xen_tuned import XenTuned

_STACKS: tuple[Stack, ...] = (Kvm(), KvmTuned(), NoHype(), Xen(), XEN_PVH, XenTuned(), Bare())
LEAVES_HYPERVISOR = NoHype.name  # the stack whose guests boot with a hypervisor and then leave it


def names() -> tuple[str, ...]:
    return tuple(stack.name for stack in _STACKS)


def get(name: str) -> Stack:
    """The stack of that name. Raises InputError with the nearest right name."""
    for stack in _STACKS:
        if stack.name == name:
            return stack
    raise InputError(f"unknown stack {name!r}{nearest(name, names())}", fix=f"known stacks: {', '.join(names())}")
