"""Virtual functions: what is planned on a sysfs tree of real folders and links, shaped as Linux 6.12 with igb."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from harness.hosts import model
from harness.onhost import network, sriov
from harness.onhost.errors import AgentError
from harness.onhost.sriov import Config

PF = "0000:02:00.0"
PF_MAC = "52:54:00:01:00:01"


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


class Tree:
    """A host with one igb PF called data0."""

    def __init__(self, root: Path, *, flags: str = "0x1003", autoprobe: str = "1", vfio: bool = True) -> None:
        self.root = root
        self.pf = root / "sys/devices" / PF
        (self.pf / "net/data0").mkdir(parents=True)
        for name, value in {
            "sriov_totalvfs": "7",
            "sriov_numvfs": "0",
            "sriov_drivers_autoprobe": autoprobe,
            "net/data0/flags": flags,
            "net/data0/address": PF_MAC,
        }.items():
            (self.pf / name).write_text(value + "\n")
        _link(self.pf / "net/data0/device", self.pf)
        _link(root / "sys/class/net/data0", self.pf / "net/data0")
        _link(root / "sys/bus/pci/devices" / PF, self.pf)
        self.driver("igb")
        _link(self.pf / "driver", root / "sys/bus/pci/drivers/igb")
        if vfio:
            self.driver("vfio-pci")

    def driver(self, name: str) -> Path:
        path = self.root / "sys/bus/pci/drivers" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def vfs(self, count: int, driver: str = "") -> None:
        (self.pf / "sriov_numvfs").write_text(f"{count}\n")
        for number in range(count):
            address = f"0000:02:10.{number * 2}"
            folder = self.root / "sys/devices" / address
            folder.mkdir()
            _link(self.root / "sys/bus/pci/devices" / address, folder)
            _link(self.pf / f"virtfn{number}", folder)
            group = self.root / f"sys/kernel/iommu_groups/{20 + number}"
            group.mkdir(parents=True)
            _link(folder / "iommu_group", group)
            if driver:
                _link(folder / "driver", self.driver(driver))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_fresh_host_gets_its_vfs(tree: Tree) -> None:
    actions = sriov.plan_creation(Config("data0", 4, ()), tree.root)
    assert [(action.path.name, action.value) for action in actions] == [
        ("sriov_drivers_autoprobe", "0"),
        ("sriov_numvfs", "4"),
    ]
    for action in actions:
        action.do()
    assert (tree.pf / "sriov_numvfs").read_text() == "4"


def test_pf_is_brought_up_and_vfio_loaded_first(tmp_path: Path) -> None:
    tree = Tree(tmp_path, flags="0x1002", vfio=False)
    actions = sriov.plan_creation(Config(PF, 4, ()), tree.root)
    assert [action.argv for action in actions[:2]] == [
        ("ip", "link", "set", "dev", "data0", "up"),
        ("modprobe", "vfio-pci"),
    ]


def test_another_number_goes_through_zero(tree: Tree) -> None:
    tree.vfs(2)
    values = [a.value for a in sriov.plan_creation(Config("data0", 4, ()), tree.root) if a.path.name == "sriov_numvfs"]
    assert values == ["0", "4"]


def test_number_never_changes_under_a_guest(tree: Tree) -> None:
    tree.vfs(2, "vfio-pci")
    with pytest.raises(AgentError, match="guest 'g1' has one"):
        sriov.plan_creation(Config("data0", 4, ()), tree.root, used={"0000:02:10.2": "g1"})


def test_binding_sets_mac_then_driver(tree: Tree) -> None:
    tree.vfs(2, "igbvf")
    macs = ("02:00:00:00:00:10", "02:00:00:00:00:11")
    actions = sriov.plan_binding(Config("data0", 2, macs), tree.root, macs={0: "00:00:00:00:00:00", 1: macs[1]})
    assert [action.argv or (action.path.name, action.value) for action in actions] == [
        ("ip", "link", "set", "dev", "data0", "vf", "0", "mac", macs[0]),
        ("driver_override", "vfio-pci"),
        ("unbind", "0000:02:10.0"),
        ("drivers_probe", "0000:02:10.0"),
        ("driver_override", "vfio-pci"),
        ("unbind", "0000:02:10.2"),
        ("drivers_probe", "0000:02:10.2"),
    ]


def test_second_setup_has_nothing_to_do(tree: Tree) -> None:
    tree.vfs(2, "vfio-pci")
    config = Config("data0", 2, ())
    macs = {number: network.mac(PF_MAC, str(number)) for number in range(2)}
    assert sriov.plan_creation(config, tree.root) == []
    assert sriov.plan_binding(config, tree.root, macs=macs) == []


def test_derived_macs_are_local_unicast_and_differ() -> None:
    macs = {network.mac(PF_MAC, str(number)) for number in range(7)}
    assert len(macs) == 7
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)


@pytest.mark.parametrize(
    ("pf", "vfs", "message"),
    [("eth9", 4, r"data0 \(0000:02:00.0\)"), ("data0", 8, "can have 1 to 7"), ("data0", 0, "can have 1 to 7")],
)
def test_wrong_configuration_says_what_there_is(tree: Tree, pf: str, vfs: int, message: str) -> None:
    with pytest.raises(AgentError, match=message):
        sriov.plan_creation(Config(pf, vfs, ()), tree.root)


@pytest.mark.parametrize(
    "document",
    ["", "[]", '{"pf": "data0"}', '{"pf": "data0", "vfs": 2, "macs": ["02:00:00:00:00:01"]}',
     '{"pf": "data0", "vfs": 1, "macs": ["03:00:00:00:00:01"]}'],
)  # fmt: skip
def test_wrong_config_file_is_refused(tmp_path: Path, document: str) -> None:
    path = tmp_path / sriov.CONFIG
    path.parent.mkdir(parents=True)
    path.write_text(document)
    with pytest.raises(AgentError) as caught:
        sriov.read_config(tmp_path)
    assert caught.value.where == "/etc/nohype/sriov.json"


def test_functions_are_described_as_the_control_node_knows_them(tree: Tree) -> None:
    tree.vfs(2, "vfio-pci")
    (found,) = sriov.physical_functions(
        tree.root, guests={"0000:02:10.2": "g1"}, ask=lambda _: sriov.Asked("1.63, 0x0", {0: "02:00:00:00:00:10"})
    )
    document = found.document()
    assert set(document) == {field.name for field in fields(model.PhysicalFunction)}
    assert (document["address"], document["driver"], document["netdev"], document["total_vfs"]) == (
        PF,
        "igb",
        "data0",
        7,
    )
    common = {"driver": "vfio-pci"}
    assert document["vfs"] == [
        common | {"address": "0000:02:10.0", "index": 0, "iommu_group": 20, "mac": "02:00:00:00:00:10", "guest": ""},
        common | {"address": "0000:02:10.2", "index": 1, "iommu_group": 21, "mac": "", "guest": "g1"},
    ]


@pytest.mark.parametrize("key", ["address", "mac"])
def test_macs_of_old_and_new_iproute2(key: str) -> None:
    text = '[{"ifname": "data0", "vfinfo_list": [{"vf": 0, "%s": "02:00:00:00:00:10"}, {"vf": 1, "%s": "02::"}]}]'
    assert sriov.macs_in(json.loads(text % (key, key))) == {0: "02:00:00:00:00:10", 1: "02::"}


def test_guests_addresses() -> None:
    own = network.address_in(
        json.loads(
            '[{"ifindex":3,"ifname":"data0","addr_info":[{"family":"inet","local":"10.78.1.1","prefixlen":16,'
            '"broadcast":"10.78.255.255","scope":"global","label":"data0"}]}]'
        )
    )
    assert own is not None
    assert network.place(own, 0) == ("10.78.1.10", "10.78.1.1", "255.255.0.0")
    assert network.place(own, 3).address == "10.78.1.13"
    with pytest.raises(AgentError, match="no address"):
        network.place(own, 245)
    assert network.address_in([{"ifname": "data0", "addr_info": []}]) is None
