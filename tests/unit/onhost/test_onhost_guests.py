"""Records, resources and the program's own behaviour, on this machine's real processes and files."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import zipapp
from dataclasses import astuple, fields
from pathlib import Path

import pytest

from harness.guests import model
from harness.guests.model import Guest
from harness.hosts.model import Capabilities
from harness.onhost import facts, guests, kvm, records, system
from harness.onhost.errors import AgentError
from harness.onhost.qmp import Qmp
from harness.onhost.records import Engagement, Record
from harness.onhost.spec import Spec

SPEC = Spec("g1", "kvm", 1, 256, "abc", "bridge")


def _record(**changes: object) -> Record:
    document: dict[str, object] = dict.fromkeys(Record._fields, "")
    document |= {"name": "g1", "vcpu_threads": (), "cpus": (), "memory_mib": 256, "started_at": 1.0, "number": 0}
    document |= {"vcpus": 1, "domain": 0, "pid": 0, "ready": True, "stopped": False, "base": (), "final": ()}
    document |= {"engagement": Engagement(), "stub": (), "ending": False}
    return Record(**(document | changes))  # type: ignore[arg-type]


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    record = _record(vcpu_threads=(1, 2), cpus=(2, 3), base=((1, 0, 120, 5),), final=((1, 0, 120, 9), (2, 1, 123, 4)))
    record = record._replace(engagement=Engagement("killed", "", "exit", 1, "ioio"), stub=((2, 1, 123, 1),))
    records.save(record, tmp_path)
    assert records.load_all(tmp_path) == [record]


def test_a_guest_has_the_control_nodes_keys() -> None:
    assert set(_record().document(running=True)) == {field.name for field in fields(Guest)}
    assert Engagement._fields == tuple(field.name for field in fields(model.Engagement))
    assert Engagement() == astuple(model.Engagement())


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    records.save(_record(), tmp_path)
    (records.folder(tmp_path) / "g2.json").write_text('{"name": "g2"}')
    with pytest.raises(AgentError) as caught:
        records.load_all(tmp_path)
    assert caught.value.where.endswith("g2.json")


def test_running_means_the_very_process() -> None:
    start = records.process_start(os.getpid())
    assert start.isdigit()
    assert records.is_running(_record(pid=os.getpid(), pid_start=start))
    assert not records.is_running(_record(pid=os.getpid(), pid_start=str(int(start) - 1)))  # id was used again
    assert not records.is_running(_record(pid=os.getpid(), pid_start=start, stopped=True))
    assert not records.is_running(_record())


def test_a_zombie_does_not_run() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert records.process_start(child.pid) == ""
    child.wait()


def _hold(root: Path, held: "multiprocessing.synchronize.Event", release: "multiprocessing.synchronize.Event") -> None:
    with records.lock(root):
        held.set()
        release.wait(10)


def test_one_process_at_a_time_changes_guests(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, release, entered = context.Event(), context.Event(), threading.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, release))
    other.start()
    assert held.wait(10)

    def enter() -> None:
        with records.lock(tmp_path):
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    assert not entered.wait(0.2)
    release.set()
    assert entered.wait(10)
    waiting.join()
    other.join()


def test_numbers_of_ended_guests_are_used_again() -> None:
    assert guests.free_number([]) == 0
    assert guests.free_number([_record(number=0), _record(number=2)]) == 1


def _host(root: Path, *, hugepages_free: int = 0, available_kib: int = 1 << 20) -> Path:
    pool = root / "sys/kernel/mm/hugepages/hugepages-2048kB"
    pool.mkdir(parents=True)
    (pool / "nr_hugepages").write_text("320\n")
    (pool / "free_hugepages").write_text(f"{hugepages_free}\n")
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(f"MemTotal:        2000000 kB\nMemAvailable:    {available_kib} kB\n")
    (root / "dev").mkdir()
    (root / "dev/kvm").touch()
    cpu = root / "sys/devices/system/cpu"
    cpu.mkdir(parents=True)
    (cpu / "online").write_text("0-3\n")
    (cpu / "isolated").write_text("2-3\n")
    return root


@pytest.mark.parametrize(
    ("spec", "host", "message"),
    [
        (SPEC._replace(hugepages=True), {"hugepages_free": 127}, "256 MiB of 2 MiB pages wanted, 254 of 640 MiB"),
        (SPEC, {"available_kib": 255 * 1024}, "256 MiB wanted, 255 MiB"),
        (SPEC._replace(cpus=(2,)), {}, r"cores already pinned: 2 \(guest g0\)"),
    ],
)
def test_what_the_host_cannot_hold_is_refused(tmp_path: Path, spec: Spec, host: dict[str, int], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        guests.check_resources(spec, [_record(name="g0", cpus=(2,))], _host(tmp_path, **host))


def test_what_it_can_hold_is_taken(tmp_path: Path) -> None:
    root = _host(tmp_path, hugepages_free=128)
    guests.check_resources(SPEC._replace(hugepages=True, cpus=(3,)), [_record(name="g0", cpus=(2,))], root)
    (root / "dev/kvm").unlink()
    with pytest.raises(AgentError, match="no /dev/kvm"):
        guests.check_resources(SPEC, [], root)


def test_qemus_own_threads_stay_off_guests_cores(tmp_path: Path) -> None:
    root = _host(tmp_path)
    assert kvm.own_cores((2,), root) == (0, 1)
    assert kvm.own_cores((0, 1), root) == (2, 3)  # never the guest's, even if only isolated ones are left


def test_a_vf_is_in_use_while_its_guest_is_made_or_runs(tmp_path: Path) -> None:
    stat = tmp_path / "proc/50/stat"
    stat.parent.mkdir(parents=True)
    stat.write_text("50 (CPU 0/KVM) x) S " + " ".join(str(n) for n in range(4, 30)))
    records.save(_record(name="made", vf="0000:02:10.0", ready=False), tmp_path)
    records.save(_record(name="runs", vf="0000:02:10.2", pid=50, pid_start="22"), tmp_path)
    records.save(_record(name="died", vf="0000:02:10.4", pid=51, pid_start="22"), tmp_path)
    records.save(_record(name="ended", vf="0000:02:10.6", stopped=True), tmp_path)
    assert guests.vfs_in_use(tmp_path) == {"0000:02:10.0": "made", "0000:02:10.2": "runs"}
    assert [(g["name"], g["state"]) for g in guests.listing(tmp_path)] == [
        ("died", "stopped"),
        ("ended", "stopped"),
        ("runs", "running"),
    ]


def _serve(path: Path, replies: list[str]) -> threading.Thread:
    """Speak QEMU 10's side of a recorded QMP dialogue, then hang up."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)

    def talk() -> None:
        with server, server.accept()[0] as peer:
            peer.sendall(replies[0].encode() + b"\r\n")
            for reply in replies[1:]:
                peer.recv(4096)
                peer.sendall(reply.encode() + b"\r\n")

    thread = threading.Thread(target=talk)
    thread.start()
    return thread


GREETING = '{"QMP": {"version": {"qemu": {"micro": 13, "minor": 0, "major": 10}}, "capabilities": ["oob"]}}'


def test_vcpu_threads_come_in_order_of_vcpus(tmp_path: Path) -> None:
    cpus = '{"return": [{"thread-id": 778, "cpu-index": 1}, {"thread-id": 777, "cpu-index": 0}]}'
    event = '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "NIC_RX_FILTER_CHANGED"}'
    thread = _serve(tmp_path / "qmp", [GREETING, '{"return": {}}', f"{event}\r\n{cpus}"])
    with Qmp(tmp_path / "qmp", seconds=5) as qmp:
        assert qmp.vcpu_threads() == (777, 778)
    thread.join()


def test_qemus_refusals_and_end_are_told(tmp_path: Path) -> None:
    refusal = '{"error": {"class": "GenericError", "desc": "not now"}}'
    thread = _serve(tmp_path / "qmp", [GREETING, '{"return": {}}', refusal])
    with Qmp(tmp_path / "qmp", seconds=5) as qmp:
        with pytest.raises(AgentError, match="not now"):
            qmp.execute("cont")
        thread.join()
        with pytest.raises(AgentError, match=r"ended|listen"):
            qmp.execute("cont")


def test_capabilities_of_this_machine_have_the_control_nodes_keys() -> None:
    document = facts.capabilities()
    assert set(document) == {field.name for field in fields(Capabilities)}
    assert document["cores"] == len(system.present_cpus()) > 0
    assert document["kernel"] == os.uname().release
    json.dumps(document)


def test_fingerprint_of_this_machine_is_flat_text_and_stable() -> None:
    found = facts.fingerprint()
    assert found["kernel.release"] == os.uname().release
    assert found["cpu.model"]
    assert all(isinstance(value, str) for value in found.values())
    assert facts.fingerprint() == found


def test_stack_from_command_line() -> None:
    assert facts.stack_of("root=UUID=1 ro nohype.stack=kvm-tuned isolcpus=2-3") == "kvm-tuned"
    assert facts.stack_of("ro xnohype.stack=kvm") == ""


@pytest.mark.parametrize(("text", "cpus"), [("", ()), ("0", (0,)), ("0-2,5,7-8\n", (0, 1, 2, 5, 7, 8))])
def test_cpu_lists(text: str, cpus: tuple[int, ...]) -> None:
    assert system.cpu_list(text) == cpus


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as hosts have it: a zipapp."""
    folder = tmp_path_factory.mktemp("agent")
    source = Path(guests.__file__).parent
    tree = folder / "tree/nohype_host"
    tree.mkdir(parents=True)
    for path in source.glob("*.py"):
        (tree / path.name).write_bytes(path.read_bytes())
    main = "import sys\nfrom nohype_host.__main__ import main\nsys.exit(main())\n"
    (folder / "tree/__main__.py").write_text(main)
    zipapp.create_archive(folder / "tree", folder / "nohype-host")
    return folder / "nohype-host"


def _run(agent: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    # -I -S: neither the checkout nor installed packages are there, as on a host.
    argv = [sys.executable, "-I", "-S", str(agent), *words]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=30)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="nohype-host runs as root")


def test_bundled_program_explains_itself(agent: Path) -> None:
    done = _run(agent, "--help")
    assert done.returncode == 0
    assert "guest create" in done.stdout


@needs_root
def test_bundled_program_answers_in_json(agent: Path) -> None:
    assert json.loads(_run(agent, "facts").stdout)["kernel"] == os.uname().release


@needs_root
@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        (("guest", "create"), "{", "not JSON"),
        (("guest", "create"), "{}", "this key is required"),
        (("guest", "destory", "x"), "", "unknown command"),
        (("exporter", "--listen"), "", "unknown command"),
        ((), "", "unknown command"),
    ],
)
def test_errors_are_one_line_of_json(agent: Path, words: tuple[str, ...], stdin: str, message: str) -> None:
    done = _run(agent, *words, stdin=stdin)
    assert done.returncode == 1
    assert done.stdout == ""
    assert message in json.loads(done.stderr.splitlines()[-1])["error"]["what"]
