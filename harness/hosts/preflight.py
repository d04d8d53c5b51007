"""Look before starting: what a host or the control node lacks, and the command that mends it."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.errors import HarnessError, UnavailableError
from harness.hosts.discover import capabilities
from harness.hosts.model import Capabilities, Host
from harness.hosts.power import controller
from harness.hosts.ssh import HostSession, connect

MIN_FREE_MIB = 2048  # under /var/lib on a host: guest images and their overlays
MAX_CLOCK_SKEW_SECONDS = 5.0  # Prometheus and the store put the host's and our times side by side
DEBIAN = "13"
_EXPORTER_SECONDS = 5.0

# Constant text: prints what a host is before anything of ours is on it.
SURVEY = """
echo "arch=$(uname -m)"
. /etc/os-release
echo "os=$ID"
echo "version=${VERSION_ID:-}"
echo "python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"
echo "virtualization=$(grep -o -w -m1 -E 'svm|vmx' /proc/cpuinfo | head -n1)"
echo "free_mib=$(df -Pm /var/lib | awk 'NR==2 {print $4}')"
echo "now=$(date +%s.%N)"
"""


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # works, or is needed by some stacks alone
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `fix` is a command or an instruction; empty when all is well."""

    level: Level
    what: str
    where: str
    fix: str = ""


def failed(error: HarnessError, where: str) -> Finding:
    """An error as a finding."""
    return Finding(Level.FAIL, error.what, error.where or where, error.fix)


def check_host(host: Host) -> tuple[Finding, ...]:
    """Everything about one host that can be looked at; changes nothing and does not raise for what it finds."""
    return (*_by_ssh(host), *_bmc(host))


def _by_ssh(host: Host) -> tuple[Finding, ...]:
    try:
        with connect(host) as session:
            found = [Finding(Level.OK, "SSH answers with the known host key", host.name)]
            before = time.time()
            survey = parse_survey(session.run(["sh", "-c", SURVEY], sudo=True).stdout)
            found.append(Finding(Level.OK, f"{host.user} may use sudo", host.name))
            found += judge_survey(survey, host.name, before, time.time())
            found += _abilities(session, host, survey)
            return tuple(found)
    except HarnessError as error:
        return (failed(error, host.name),)


def _abilities(session: HostSession, host: Host, survey: Mapping[str, str]) -> tuple[Finding, ...]:
    try:
        able = capabilities(session)
    except UnavailableError as error:
        later = Finding(Level.WARN, f"not provisioned yet: {error.what}", host.name, error.fix)
        return (later,) if survey.get("virtualization") else (later, _no_virtualization(host.name))
    found = judge(able, host.name, hugepages_2m=_number(host, "nohype_hugepages_2m"))
    return (*found, _exporter(host, _number(host, "nohype_exporter_port")))


def _exporter(host: Host, port: int) -> Finding:
    where = f"{host.name} ({host.address}:{port})"
    try:
        with socket.create_connection((host.address, port), timeout=_EXPORTER_SECONDS):
            return Finding(Level.OK, "the exporter listens", where)
    except OSError as error:
        fix = f"on {host.name}: sudo systemctl restart nohype-exporter; its log: journalctl -u nohype-exporter"
        return Finding(Level.FAIL, f"the exporter does not answer: {error.strerror or 'timeout'}", where, fix)


def _bmc(host: Host) -> tuple[Finding, ...]:
    if host.bmc is None:
        fix = "give it nohype_bmc in the inventory, if it has one"
        return (Finding(Level.WARN, "no BMC: if it hangs, nobody restarts it", host.name, fix),)
    try:
        state = controller(host).status()
    except HarnessError as error:
        return (failed(error, host.name),)
    return (Finding(Level.OK, f"BMC answers: power is {state}", host.name),)


def parse_survey(text: str) -> dict[str, str]:
    """What SURVEY printed."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def judge_survey(survey: Mapping[str, str], where: str, before: float, after: float) -> tuple[Finding, ...]:
    """Findings about the operating system; `before` and `after` are our times around the survey, Unix seconds."""
    found = []
    system = f"{survey.get('os', '?')} {survey.get('version', '?')} on {survey.get('arch', '?')}"
    if (survey.get("os"), survey.get("version"), survey.get("arch")) == ("debian", DEBIAN, "x86_64"):
        found.append(Finding(Level.OK, f"runs {system}", where))
    else:
        found.append(Finding(Level.FAIL, f"runs {system}", where, f"install Debian {DEBIAN} (trixie), amd64"))
    if not survey.get("python"):
        found.append(Finding(Level.FAIL, "python3 is missing", where, "sudo apt-get install -y python3"))
    free = int(survey.get("free_mib") or 0)
    if free < MIN_FREE_MIB:
        fix = "make room: old guest images are under /var/lib/nohype/guest-images"
        found.append(Finding(Level.FAIL, f"{free} MiB free under /var/lib, {MIN_FREE_MIB} are needed", where, fix))
    now = float(survey.get("now") or 0)
    skew = now - after if now > after else min(now - before, 0.0)
    if abs(skew) > MAX_CLOCK_SKEW_SECONDS:
        what = f"its clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
        found.append(Finding(Level.WARN, what, where, "sudo timedatectl set-ntp true"))
    return tuple(found)


def judge(able: Capabilities, where: str, *, hugepages_2m: int = 0) -> tuple[Finding, ...]:
    """Findings about what the host can do; `hugepages_2m` is how many its inventory asks for."""
    found = []
    if not able.virtualization:
        found.append(_no_virtualization(where))
    elif not able.nested_paging:
        setting = "kvm_amd npt=1" if able.virtualization == "svm" else "kvm_intel ept=1"
        fix = f"echo 'options {setting}' | sudo tee /etc/modprobe.d/nohype-kvm.conf, then reboot"
        found.append(Finding(Level.FAIL, "nested paging is off", where, fix))
    else:
        paging = "NPT" if able.virtualization == "svm" else "EPT"
        found.append(Finding(Level.OK, f"{able.virtualization.upper()} with {paging}", where))
    if able.iommu_groups or (able.xen and able.xen.directio):
        whose = "is Xen's" if able.xen else f"with {able.iommu_groups} groups"
        found.append(Finding(Level.OK, f"IOMMU {whose}", where))
    else:
        fix = (
            "switch VT-d or AMD-Vi on in the firmware's setup"
            if "iommu=on" in able.cmdline
            else f"nohype provision --stack kvm-tuned --limit {where}, which boots with it on"
        )
        found.append(Finding(Level.WARN, "no IOMMU groups: no stack can pass a VF to a guest", where, fix))
    if not able.x2apic and not able.xen:  # which shows none to its control domain
        found.append(Finding(Level.WARN, "no x2APIC", where, "switch x2APIC on in the firmware's setup"))
    functions = [pf for pf in able.physical_functions if pf.total_vfs]
    if not functions:
        fix = "switch SR-IOV on in the firmware's setup, or put in a NIC that has it"
        found.append(Finding(Level.WARN, "no NIC with SR-IOV: stacks with VFs cannot run", where, fix))
    for pf in functions:
        ready = [vf for vf in pf.vfs if vf.for_guests]
        free = sum(1 for vf in ready if not vf.guest)
        name = f"{pf.netdev or pf.address} ({pf.driver})"
        if pf.vfs and not ready:
            fix = f"sudo systemctl restart nohype-sriov.service on {where}; its log: journalctl -u nohype-sriov"
            found.append(Finding(Level.FAIL, f"{name}: {len(pf.vfs)} VFs, none has the driver for guests", where, fix))
        else:
            text = f"{name}: {len(ready)} VFs ready, {free} free, {pf.total_vfs} possible"
            found.append(Finding(Level.OK, text, where))
    pages = able.hugepages_total.get("2048", 0)
    if able.stack in ("kvm-tuned", "nohype") and pages < hugepages_2m:
        fix = "memory was too fragmented or too small when it booted: lower nohype_hugepages_2m, or reboot"
        found.append(Finding(Level.FAIL, f"{pages} hugepages of 2 MiB, {hugepages_2m} asked for", where, fix))
    if able.lost:
        what = f"lost cores: {', '.join(map(str, able.lost))}; they were not confirmed to have left a guest"
        fix = f"reboot the host: nohype hosts boot {where} --stack {able.stack or 'STACK'} --fresh"
        found.append(Finding(Level.FAIL, what, where, fix))
    running = able.stack or "none of ours"
    on = f" on Xen {able.xen.version}" if able.xen else ""
    found.append(Finding(Level.OK, f"runs stack: {running}, kernel {able.kernel}{on}", where))
    return tuple(found)


def _no_virtualization(where: str) -> Finding:
    fix = "switch virtualization (SVM or VT-x) on in the firmware's setup"
    return Finding(Level.FAIL, "the CPU shows neither SVM nor VMX", where, fix)


def _number(host: Host, key: str) -> int:
    value = host.variables.get(key, 0)
    return value if isinstance(value, int) else 0
