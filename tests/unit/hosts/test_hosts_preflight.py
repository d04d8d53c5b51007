"""Findings from what hosts said."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from harness.errors import HostError
from harness.hosts.control_node import FILES, PROGRAMS, check_control_node
from harness.hosts.discover import make_fingerprint, parse_capabilities
from harness.hosts.preflight import SURVEY, Finding, judge, judge_survey, parse_survey
from harness.paths import repo_root

# Printed by SURVEY on Debian 13 (trixie).
SURVEYED = """\
arch=x86_64
os=debian
version=13
python=3.13
virtualization=svm
free_mib=5120
now=1764000000.250000000
"""
# `nohype-host facts` of an emulated host booted into kvm-tuned.
FACTS: dict[str, object] = {
    "virtualization": "svm", "nested_paging": True, "iommu_groups": 14, "x2apic": True, "cores": 4, "isolated": [2, 3],
    "memory_mib": 2931, "hugepages_total": {"2048": 320}, "hugepages_free": {"2048": 64},
    "physical_functions": [{
        "address": "0000:02:00.0", "driver": "igb", "netdev": "data0", "firmware": "0. 0-0", "total_vfs": 7,
        "vfs": [
            {"address": "0000:02:10.0", "index": 0, "driver": "vfio-pci", "iommu_group": 13, "mac": "", "guest": "g"},
            {"address": "0000:02:10.2", "index": 1, "driver": "vfio-pci", "iommu_group": 14, "mac": "", "guest": ""},
        ],
    }],
    "kernel": "6.12.57+deb13-amd64", "cmdline": "ro intel_iommu=on iommu=pt nohype.stack=kvm-tuned",
    "boot_id": "0d0c", "stack": "kvm-tuned",
}  # fmt: skip
ABLE = parse_capabilities(FACTS, "a")
PF = ABLE.physical_functions[0]
NOW = 1764000000.25


def bad(found: tuple[Finding, ...]) -> list[tuple[str, str, str]]:
    return [(str(finding.level), finding.what, finding.fix) for finding in found if finding.level != "ok"]


def test_a_host_with_lost_cores_must_be_rebooted() -> None:
    ((level, what, fix),) = bad(judge(replace(ABLE, lost=(2, 3)), "a", hugepages_2m=320))
    assert (level, what.partition(";")[0]) == ("fail", "lost cores: 2, 3")
    assert fix == "reboot the host: nohype hosts boot a --stack kvm-tuned --fresh"


def test_a_good_host() -> None:
    found = judge(ABLE, "a", hugepages_2m=320)
    assert bad(found) == []
    assert [finding.what for finding in found] == [
        "SVM with NPT",
        "IOMMU with 14 groups",
        "data0 (igb): 2 VFs ready, 1 free, 7 possible",
        "runs stack: kvm-tuned, kernel 6.12.57+deb13-amd64",
    ]
    assert bad(judge_survey(parse_survey(SURVEYED), "a", NOW - 0.5, NOW + 0.5)) == []


@pytest.mark.parametrize(
    ("changes", "level", "what", "fix"),
    [
        ({"virtualization": ""}, "fail", "neither SVM nor VMX", "firmware's setup"),
        ({"nested_paging": False}, "fail", "nested paging is off", "kvm_amd npt=1"),
        ({"nested_paging": False, "virtualization": "vmx"}, "fail", "nested paging is off", "kvm_intel ept=1"),
        ({"iommu_groups": 0}, "warn", "no IOMMU groups", "firmware's setup"),
        ({"iommu_groups": 0, "cmdline": "ro", "stack": ""}, "warn", "no IOMMU groups", "nohype provision"),
        ({"x2apic": False}, "warn", "no x2APIC", "firmware"),
        ({"physical_functions": ()}, "warn", "no NIC with SR-IOV", "SR-IOV on"),
        (
            {"physical_functions": (replace(PF, vfs=tuple(replace(vf, driver="igbvf") for vf in PF.vfs)),)},
            "fail",
            "2 VFs, none has the driver for guests",
            "nohype-sriov.service",
        ),
        ({"hugepages_total": {"2048": 100}}, "fail", "100 hugepages of 2 MiB, 320 asked for", "nohype_hugepages_2m"),
    ],
)
def test_what_a_host_lacks(changes: dict[str, object], level: str, what: str, fix: str) -> None:
    found = bad(judge(replace(ABLE, **changes), "a", hugepages_2m=320))  # type: ignore[arg-type]
    assert len(found) == 1, found
    assert found[0][0] == level
    assert what in found[0][1]
    assert fix in found[0][2]


def test_hugepages_are_missed_only_where_they_were_booted_with() -> None:
    assert bad(judge(replace(ABLE, stack="kvm", hugepages_total={}), "a", hugepages_2m=320)) == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("version=13", "version=12", "runs debian 12 on x86_64"),
        ("python=3.13", "python=", "python3 is missing"),
        ("free_mib=5120", "free_mib=12", "12 MiB free under /var/lib"),
        ("now=1764000000", "now=1763999900", "its clock is 100 s behind"),
        ("now=1764000000", "now=1764000060", "its clock is 60 s ahead"),
    ],
)
def test_what_an_operating_system_lacks(old: str, new: str, what: str) -> None:
    found = judge_survey(parse_survey(SURVEYED.replace(old, new)), "a", NOW - 0.5, NOW + 0.5)
    assert [text for _, text, _ in bad(found) if what in text], found


def test_facts_of_another_version_are_refused() -> None:
    with pytest.raises(HostError, match=r"(?s)facts cannot be understood \(cores: .*provision the host again"):
        parse_capabilities({key: value for key, value in FACTS.items() if key != "cores"}, "a")


def test_fingerprints_are_equal_for_equal_facts() -> None:
    one = make_fingerprint("a", {"cpu.model": "x", "kernel.release": "6.12"})
    two = make_fingerprint("b", {"kernel.release": "6.12", "cpu.model": "x"})
    assert (one.digest, one.facts) == (two.digest, two.facts)
    assert make_fingerprint("a", {"cpu.model": "y"}).digest != one.digest


def test_the_doctor_knows_what_bootstrap_installs() -> None:
    text = (repo_root() / "bootstrap").read_text(encoding="utf-8")
    block = re.search(r"^packages=\((.*?)^\)", text, re.MULTILINE | re.DOTALL)
    assert block
    packages = re.sub(r"#.*", "", block.group(1)).split()
    assert set(packages) == {*PROGRAMS, *FILES}


def test_missing_packages_and_full_disks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("NOHYPE_STATE", "/proc/nohype")
    found = [finding for finding in check_control_node() if finding.level == "fail"]
    told = {finding.what: finding.fix for finding in found}
    assert "apt-get install -y --no-install-recommends ipmitool" in told["package ipmitool is missing"]
    assert any(finding.where == "/proc/nohype" for finding in found)


def test_the_survey_runs_here() -> None:
    import subprocess

    done = subprocess.run(["sh", "-c", SURVEY], capture_output=True, text=True, check=True)
    survey = parse_survey(done.stdout)
    assert set(survey) == set(parse_survey(SURVEYED))
    assert int(survey["free_mib"]) > 0
