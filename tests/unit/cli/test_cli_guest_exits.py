"""What `nohype guest ssh` hands to the system's ssh, and the table of `nohype exits watch`."""

import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.exits import Sort, exits_table, only, rate_lines, rates, totals
from harness.cli.guest import guests_table
from harness.cli.ssh_config import guest_config, host_config
from harness.errors import InputError
from harness.exits.model import ExitReading
from harness.guests.image import GuestImage
from harness.guests.model import Engagement, Guest
from harness.hosts.model import Host
from harness.results.model import ExitCount, Fidelity

IMAGE = GuestImage("abc", Path("/i"), "6.12", ("ssh-ed25519 AAAA guest",), Path("/state dir/50%/id"))
GUEST = Guest("g1", "kvm", "running", "10.79.1.10", "", "", "abc", (), (), 512, 1.0, "u", "/c")


def _host(known_hosts: Path) -> Host:
    return Host("host1", "127.0.10.11", 2222, "nohype", Path("/k"), known_hosts, Fidelity.EMULATED)


def _resolved(config: Path, name: str) -> dict[str, str]:
    done = subprocess.run(["ssh", "-G", "-F", config, name], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


@pytest.mark.skipif(not shutil.which("ssh"), reason="no ssh client")
def test_ssh_understands_the_configuration(tmp_path: Path) -> None:
    config = guest_config(tmp_path, _host(tmp_path / "known"), GUEST, IMAGE)
    guest = _resolved(config, "guest")
    assert (guest["hostname"], guest["user"], guest["proxyjump"]) == ("10.79.1.10", "root", "host")
    assert guest["hostkeyalias"] == "guest-image-abc"
    assert guest["identityfile"] == "/state dir/50%%/id"
    assert (tmp_path / "host1/g1/known_hosts").read_text() == "guest-image-abc ssh-ed25519 AAAA guest\n"
    for name, path in (("guest", config), ("host", config), ("host", host_config(tmp_path, _host(tmp_path / "known")))):
        found = _resolved(path, name)
        assert found["stricthostkeychecking"] == "true"
        assert found["globalknownhostsfile"] == "/dev/null"
        assert found["identitiesonly"] == "yes"
    host = _resolved(config, "host")
    assert (host["hostname"], host["port"], host["user"]) == ("127.0.10.11", "2222", "nohype")
    assert host["userknownhostsfile"] == str(tmp_path / "known")


def test_a_path_cannot_add_options(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        host_config(tmp_path, _host(Path('/x"\nProxyCommand evil')))


def test_guests_are_listed_with_what_became_of_those_without_hypervisor() -> None:
    dead = Engagement("killed", "", "exit", 0, "ioio", "0x0", "0x0", "0xffffffff8103c2b0")
    found = {
        "host1": (
            GUEST,
            replace(GUEST, name="g2", stack="nohype", engagement=Engagement("disengaged")),
            replace(GUEST, name="g3", stack="nohype", engagement=dead),
            replace(GUEST, name="g4", stack="nohype", engagement=Engagement("disengaged"), icr="open"),
            replace(GUEST, name="g5", stack="nohype", engagement=replace(dead, lost=(2, 3))),
        )
    }
    stream = io.StringIO()
    Console(file=stream, width=200).print(guests_table(found))
    rows = {line.split()[1]: " ".join(line.split()) for line in stream.getvalue().splitlines()}
    assert "running - 10.79.1.10" in rows["g1"]
    assert "running disengaged 10.79.1.10" in rows["g2"]
    assert "running disengaged, unsafe: icr open 10.79.1.10" in rows["g4"]
    assert "0xffffffff8103c2b0, lost cores: 2, 3; reboot the host 10.79.1.10" in rows["g5"]
    assert "running killed: ioio at RIP 0xffffffff8103c2b0 10.79.1.10" in rows["g3"]


BEFORE = ExitReading(10.0, 0, {"g1": (ExitCount(0, "hlt", 100), ExitCount(1, "hlt", 50))})
NOW = ExitReading(
    12.0, 0, {"g1": (ExitCount(0, "hlt", 110), ExitCount(1, "hlt", 60), ExitCount(0, "npf", 4)), "g2": ()}
)


def _text(reading: ExitReading, before: ExitReading | None, sort: Sort = Sort.RATE) -> str:
    stream = io.StringIO()
    Console(file=stream, width=100).print(exits_table(reading, before, "host1", sort))
    return stream.getvalue()


def test_totals_and_rates() -> None:
    assert totals(NOW) == {("g1", "hlt"): 170, ("g1", "npf"): 4}
    assert rates(BEFORE, NOW) == {("g1", "hlt"): 10.0, ("g1", "npf"): 2.0}
    assert rates(NOW, NOW) == {}


def test_table_has_sums_and_rates() -> None:
    rows = [line.split() for line in _text(NOW, BEFORE).splitlines()]
    assert ["g1", "all", "174", "12.0"] in rows
    assert ["hlt", "170", "97.7", "10.0"] in rows
    assert ["g2", "all", "0", "0.0"] in rows
    assert "VM exits on host1: 12.0 exits/s" in _text(NOW, BEFORE)


def test_table_without_rates_and_guests() -> None:
    assert ["hlt", "150", "100.0"] in [line.split() for line in _text(BEFORE, None).splitlines()]
    assert "no such guests" in _text(ExitReading(1.0, 0, {}), None)


def _reasons(text: str) -> list[str]:
    return [word for line in text.splitlines() for word in line.split() if word in ("hlt", "npf", "msr")]


def test_reasons_are_sorted_by_rate_or_by_total_and_quiet_guests_are_one_line() -> None:
    many, few = ExitCount(0, "hlt", 900), ExitCount(0, "npf", 10)
    before = ExitReading(1.0, 0, {"done": (replace(many, reason="msr"),), "g1": (many, few)})
    after = replace(
        before, taken_at=2.0, guests={**before.guests, "g1": (replace(many, count=901), replace(few, count=50))}
    )
    assert _reasons(_text(after, before)) == ["npf", "hlt"]
    assert _reasons(_text(after, before, Sort.EXITS)) == ["hlt", "npf"]
    names = [line.split()[0] for line in _text(after, before).splitlines() if " all " in line]
    assert names == ["g1", "done"]
    assert _reasons(_text(after, None)) == ["msr", "hlt", "npf"]  # nobody knows yet who is quiet
    assert rate_lines(after, before) == ["g1 41.0/s: npf 40.0, hlt 1.0"]


def test_guests_are_chosen_by_pattern() -> None:
    reading = ExitReading(1.0, 3, {"web1": (), "web2": (), "db": ()})
    assert only(reading, "web*") == ExitReading(1.0, 3, {"web1": (), "web2": ()})
    assert only(reading, "*") == reading


def test_lost_exits_are_shown() -> None:
    assert "1,234 exits were not counted" in _text(ExitReading(1.0, 1234, {}), None)
