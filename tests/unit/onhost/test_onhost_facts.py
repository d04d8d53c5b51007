"""The fingerprint of a host, from a folder that stands for its root."""

from __future__ import annotations

from pathlib import Path

from harness.onhost.facts import fingerprint


def test_the_fingerprint_has_hugepages_and_the_settings_of_kvm(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "vendor_id\t: AuthenticAMD\nflags\t\t: svm npt avic\n",
        "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "320\n",
        "sys/module/kvm/parameters/halt_poll_ns": "200000\n",
        "sys/module/kvm_amd/parameters/npt": "Y\n",
        "sys/module/kvm_amd/parameters/avic": "N\n",  # what explains exits of interrupts (harness.analysis.more_exits)
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    facts = fingerprint(tmp_path)
    wanted = {"memory.hugepages-2048kB": "320", "kvm.halt_poll_ns": "200000", "kvm_amd.npt": "Y"}
    wanted |= {"kvm_amd.avic": "N", "cpu.flags": "avic npt svm"}
    assert {name: facts.get(name) for name in wanted} == wanted
