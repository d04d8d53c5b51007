"""Emulated servers: their command line, where the two modes of the rack differ, and how many a machine can carry."""

import pytest

from harness.rack.description import HostDescription, RackDescription
from harness.rack.layout import Slot
from harness.rack.machine import qemu_argv


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_deterministic_host_has_no_x2apic_and_sleeps_while_it_idles(deterministic, tmp_path, monkeypatch):
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path))
    argv = qemu_argv(Slot(1, "rack1", 10), HostDescription(name="rack1"), deterministic=deterministic)
    features = argv[argv.index("-cpu") + 1].split(",")
    assert ("-x2apic" in features, "+x2apic" in features) == (deterministic, not deterministic)
    assert ("-icount" in argv) == deterministic
    assert "sleep=off" not in " ".join(argv)


@pytest.mark.parametrize(
    ("hosts", "cores", "crowded"), [(1, 1, False), (1, 2, False), (2, 2, True), (2, 4, False), (3, 4, True)]
)
def test_hosts_want_real_cores(hosts, cores, crowded):
    rack = RackDescription(hosts=tuple(HostDescription(name=f"rack{number}") for number in range(1, hosts + 1)))
    assert rack.crowded(cores) == crowded
