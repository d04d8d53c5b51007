"""Emulated servers: their command line, where the two modes of the rack differ, and how many a machine can carry."""

import itertools

import pytest

from harness.rack.description import HostDescription, RackDescription
from harness.rack.layout import Slot
from harness.rack.machine import qemu_argv


def argv_of(tmp_path, monkeypatch, *, deterministic=False, iommu="amd"):
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path))
    host = HostDescription(name="rack1")
    return qemu_argv(Slot(1, "rack1", 10), host, deterministic=deterministic, iommu=iommu, qemu="1:11.1.3")


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_deterministic_host_has_no_x2apic_and_sleeps_while_it_idles(deterministic, tmp_path, monkeypatch):
    argv = argv_of(tmp_path, monkeypatch, deterministic=deterministic)
    features = argv[argv.index("-cpu") + 1].split(",")
    assert ("-x2apic" in features, "+x2apic" in features) == (deterministic, not deterministic)
    assert ("-icount" in argv) == deterministic
    assert "sleep=off" not in " ".join(argv)


@pytest.mark.parametrize(("iommu", "other"), [("amd", "intel"), ("intel", "amd")])
def test_a_host_has_the_iommu_of_its_description(iommu, other, tmp_path, monkeypatch):
    argv = argv_of(tmp_path, monkeypatch, iommu=iommu)
    devices = [value.split(",")[0] for word, value in itertools.pairwise(argv) if word == "-device"]
    assert (f"{iommu}-iommu" in devices, f"{other}-iommu" in devices) == (True, False)
    # QEMU cannot save a machine whose AMD IOMMU made its PCI function by itself.
    assert ("AMDVI-PCI" in devices) == (iommu == "amd")


def test_a_host_tells_who_emulates_it(tmp_path, monkeypatch):
    assert any("version=QEMU 1:11.1.3" in word for word in argv_of(tmp_path, monkeypatch))


@pytest.mark.parametrize(
    ("hosts", "cores", "crowded"), [(1, 1, False), (1, 2, False), (2, 2, True), (2, 4, False), (3, 4, True)]
)
def test_hosts_want_real_cores(hosts, cores, crowded):
    rack = RackDescription(hosts=tuple(HostDescription(name=f"rack{number}") for number in range(1, hosts + 1)))
    assert rack.crowded(cores) == crowded
