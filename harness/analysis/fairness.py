"""Which facts may differ between stacks, and why. Facts that are not named here must be the same for all of them.

A rule frees the stacks it names: each of them may have a value of its own, all others must still agree with each
other. No rule frees a fact that changed within a stack: then the host changed, and not the stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

EVERY: frozenset[str] = frozenset()
_STOCK = frozenset({"kvm", "xen", "xen-pvh"})
_XEN = frozenset({"xen", "xen-pvh", "xen-tuned"})
_NOT_XEN = frozenset({"kvm", "kvm-tuned", "nohype", "bare"})
_NOHYPE = frozenset({"nohype"})
_BARE = frozenset({"bare"})


@dataclass(frozen=True)
class Rule:
    """`fact` is a name or a pattern with `*`; `stacks` are those it frees, EVERY for all."""

    fact: str
    stacks: frozenset[str]
    reason: str


_OWN_KERNEL = "the NoHype kernel is a build of its own"
_NO_SEV = "the NoHype kernel is built without encrypted guests"
_AS_INSTALLED = "stacks as installed set nothing aside for guests"
_DOM0 = "the host is a guest of Xen's, and sees what Xen shows it"
_NO_GUEST = "workloads run on the host itself"

RULES = (
    Rule("kernel.cmdline", EVERY, "each stack has a boot entry of its own"),
    Rule("kernel.release", _NOHYPE, _OWN_KERNEL),
    Rule("kernel.version", _NOHYPE, _OWN_KERNEL),
    Rule("kernel.digest", _NOHYPE, _OWN_KERNEL),
    Rule("kernel.source", _NOHYPE, _OWN_KERNEL),
    Rule("kernel.patches", _NOHYPE, _OWN_KERNEL),
    Rule("kvm_amd.sev*", _NOHYPE, _NO_SEV),
    Rule("kvm_amd.debug_swap", _NOHYPE, _NO_SEV),
    Rule("memory.hugepages-1048576kB", _NOHYPE, "the NoHype kernel is built without pages of 1 GiB; guests have none"),
    Rule("memory.mib", _NOHYPE, "the NoHype kernel takes another share of the memory for itself"),
    Rule("cpu.isolated", _STOCK, _AS_INSTALLED),
    Rule("cpu.nohz_full", _STOCK, _AS_INSTALLED),
    Rule("memory.hugepages-*", _STOCK, _AS_INSTALLED),
    Rule("nic.*.vfs", _STOCK, _AS_INSTALLED),
    # Linux 6.12, arch/x86/kvm/x86.c, kvm_x86_vendor_init: on where nohz_full is, unless it is set by hand.
    Rule("kvm.pi_inject_timer", _STOCK, "beside tickless cores, KVM may leave guests' timers to the host's own core"),
    Rule("guest.nic", _STOCK, "stacks as installed give guests a paravirtual network card"),
    Rule("guest.hugepages", _STOCK, "stacks as installed give guests ordinary pages"),
    Rule("guest.cpus", _STOCK, "stacks as installed let vCPUs float"),
    Rule("guest.idle_in_guest", frozenset({"kvm-tuned"}), "tuned KVM lets guests idle without exits (cpu-pm=on)"),
    Rule("guest.disengage", _NOHYPE, "its guests leave their hypervisor: what is to be compared"),
    Rule("guest.icr", _NOHYPE, "its guests alone can send interrupts without a hypervisor"),
    Rule("guest.kernel", _NOHYPE, "its guests boot their host's kernel, which can leave the hypervisor"),
    Rule("guest.clocksource", _NOHYPE, "its guests have no hypervisor to ask for the time"),
    Rule("guest.clocksource", _XEN, "guests of Xen have Xen's clock"),
    Rule("guest.hugepages", _XEN, "Xen backs guests with superpages unasked, wherever it can"),
    Rule("guest.kind", _XEN, "Xen has kinds of guests of its own"),
    # What Linux finds out about the machine, or is told of KVM, that Xen has for itself.
    Rule("cpu.isolated", _XEN, _DOM0),
    Rule("cpu.nohz_full", _XEN, _DOM0),
    Rule("cpu.online", _XEN, _DOM0),
    Rule("cpu.flags", _XEN, _DOM0),
    Rule("cpu.smt", _XEN, _DOM0),
    Rule("cpu.governor", _XEN, _DOM0),
    Rule("cpu.idle_driver", _XEN, _DOM0),
    Rule("clocksource", _XEN, _DOM0),
    Rule("memory.mib", _XEN, _DOM0),
    Rule("memory.hugepages-*", _XEN, _DOM0),
    Rule("memory.transparent_hugepages", _XEN, _DOM0),
    Rule("mitigations.*", _XEN, f"{_DOM0}; those of guests are compared as guest.mitigations"),
    Rule("kvm*.*", _XEN, "Xen is the hypervisor, not KVM"),
    Rule("xen.*", _NOT_XEN, "they run no Xen"),  # so that Xen's stacks must agree on Xen
    Rule("xen.commandline", _XEN, "each stack has a boot entry of its own"),
    Rule("xen.scheduler", frozenset({"xen-tuned"}), "tuned Xen has the scheduler that fits pinned vCPUs best"),
    Rule("guest.*", _BARE, _NO_GUEST),
)


def reason(fact: str, values: Mapping[str, Sequence[str]]) -> str:
    """Why a fact may differ as it does; "" where nothing explains it.

    `values` holds each stack's distinct values, by stack.
    """
    if any(len(found) > 1 for found in values.values()):
        return ""
    rules = [rule for rule in RULES if fnmatchcase(fact, rule.fact)]
    freed = {stack for stack in values for rule in rules if rule.stacks == EVERY or stack in rule.stacks}
    common = {found[0] for stack, found in values.items() if stack not in freed}
    if len(common) > 1:
        return ""
    odd = {stack for stack in freed if values[stack][0] not in common}
    return "; ".join(dict.fromkeys(rule.reason for rule in rules if rule.stacks == EVERY or odd & rule.stacks))
