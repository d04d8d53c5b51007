"""Real Ansible against real sshd: progress, failures and what they are called, and roles that converge."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from netns_hosts import Machine
from provisioning import play, write_inventory, write_playbook

from harness.errors import HostKeyError, HostUnreachableError, ProvisionError, UnavailableError
from harness.hosts.model import Host
from harness.paths import repo_root
from harness.provision import agent_bundle
from harness.provision.model import TaskEvent

ROLES = repo_root() / "playbooks" / "roles"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd8qZ3e0Yw7h5V0m1ZkW3bq0m1x2y3z4a5b6c7d8e9f"


PING = {"name": "Say hello", "ansible.builtin.command": {"argv": ["true"]}, "changed_when": False}


def test_progress_and_result(netns_host: Host, tmp_path: Path) -> None:
    change = {"name": "Leave a mark", "ansible.builtin.copy": {"content": "x", "dest": "/etc/mark", "mode": "0644"}}
    skip = {"name": "Never", "ansible.builtin.command": {"argv": ["false"]}, "when": False}
    result, events = play(tmp_path, write_playbook(tmp_path, PING, change, skip), write_inventory(tmp_path, netns_host))
    seen = [(event.host, event.task, event.outcome) for event in events]
    assert seen == [
        ("neta", "Say hello", "start"),
        ("neta", "Say hello", "ok"),
        ("neta", "Leave a mark", "start"),
        ("neta", "Leave a mark", "changed"),
        ("neta", "Never", "start"),
        ("neta", "Never", "skipped"),
    ]
    assert all(event.seconds > 0 for event in events if event.outcome in ("ok", "changed"))
    (summary,) = result.hosts
    assert (summary.host, summary.ok, summary.changed, summary.skipped) == ("neta", 2, 1, 1)
    assert "Leave a mark" in result.log.read_text()
    assert "\x1b" not in result.log.read_text()


def test_failed_task_is_named_with_host_task_and_message(netns_host: Host, tmp_path: Path) -> None:
    task = {"name": "Read the stars", "ansible.builtin.command": {"argv": ["cat", "/etc/stars"]}, "changed_when": False}
    with pytest.raises(ProvisionError) as caught:
        play(tmp_path, write_playbook(tmp_path, task), write_inventory(tmp_path, netns_host))
    assert str(caught.value) == (
        "neta: Read the stars: cat /etc/stars ended with status 1: cat: /etc/stars: No such file or directory"
    )
    assert "Read the stars" in (tmp_path / "artifacts" / "play.log").read_text()


def test_one_host_fails_and_the_others_go_on(make_host: Callable[..., Host], tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path, make_host("one"), make_host("two"))
    fail = {"name": "Fall", "ansible.builtin.fail": {"msg": "tripped"}, "when": "inventory_hostname == 'one'"}
    events: list[TaskEvent] = []
    with pytest.raises(ProvisionError, match=r"^one: Fall: tripped$"):
        play(tmp_path, write_playbook(tmp_path, fail, PING), inventory, on_event=events.append)
    assert [event.host for event in events if event.task == "Say hello" and event.outcome == "ok"] == ["two"]


def test_unreachable_host(
    make_host: Callable[..., Host], machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    host = make_host("dead")
    machine_of(host).stop()
    with pytest.raises(HostUnreachableError, match=r"dead: no SSH connection: .*No route to host"):
        play(tmp_path, write_playbook(tmp_path, PING), write_inventory(tmp_path, host))


def test_host_that_dies_in_the_middle(
    make_host: Callable[..., Host], machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    host = make_host("dying")
    machine = machine_of(host)

    def watch(event: TaskEvent) -> None:
        if (event.task, event.outcome) == ("Wait", "start"):
            machine.stop()

    slow = {"name": "Wait", "ansible.builtin.command": {"argv": ["sleep", "600"]}, "changed_when": False}
    start = time.monotonic()
    with pytest.raises(HostUnreachableError, match="dying: no SSH connection"):
        play(tmp_path, write_playbook(tmp_path, PING, slow), write_inventory(tmp_path, host), on_event=watch)
    assert time.monotonic() - start < 60


def test_wrong_host_key_is_refused(
    make_host: Callable[..., Host], machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    host = make_host("fake", known_key=OTHER_KEY)
    mark = {"name": "Leave a mark", "ansible.builtin.copy": {"content": "x", "dest": "/etc/mark", "mode": "0644"}}
    with pytest.raises(HostKeyError, match="fake: the host shows another SSH host key"):
        play(tmp_path, write_playbook(tmp_path, mark), write_inventory(tmp_path, host))
    assert not (machine_of(host).root / "etc/mark").exists()


def test_wrong_host_key_is_refused_whatever_the_environment_says(
    make_host: Callable[..., Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "false")
    host = make_host("fake", known_key=OTHER_KEY)
    with pytest.raises(HostKeyError):
        play(tmp_path, write_playbook(tmp_path, PING), write_inventory(tmp_path, host))


def test_no_sudo(make_host: Callable[..., Host], tmp_path: Path) -> None:
    host = make_host("nosudo", user="plain")
    with pytest.raises(UnavailableError, match="nosudo: the user may not use sudo without a password"):
        play(tmp_path, write_playbook(tmp_path, PING), write_inventory(tmp_path, host))


def test_login_refused(make_host: Callable[..., Host], tmp_path: Path) -> None:
    host = make_host("stranger", user="nobody")
    with pytest.raises(UnavailableError, match="stranger: login is refused"):
        play(tmp_path, write_playbook(tmp_path, PING), write_inventory(tmp_path, host))


def test_playbook_that_ansible_refuses(netns_host: Host, tmp_path: Path) -> None:
    playbook = write_playbook(tmp_path, {"name": "Nonsense", "ansible.builtin.no_such_module": {}})
    with pytest.raises(ProvisionError, match=r"couldn't resolve module/action 'ansible.builtin.no_such_module'"):
        play(tmp_path, playbook, write_inventory(tmp_path, netns_host))


def test_limit_that_matches_nothing(netns_host: Host, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match=r"play.yml: .*leaves us with no hosts to target"):
        play(tmp_path, write_playbook(tmp_path, PING), write_inventory(tmp_path, netns_host), limit="nobody")


def test_cancelled_run_leaves_no_ansible_behind(netns_host: Host, tmp_path: Path) -> None:
    slow = {"name": "Wait", "ansible.builtin.command": {"argv": ["sleep", "600"]}, "changed_when": False}
    started: list[float] = []

    def watch(event: TaskEvent) -> None:
        if event.outcome == "start":
            started.append(time.monotonic())

    with pytest.raises(ProvisionError, match="cancelled"):
        play(
            tmp_path,
            write_playbook(tmp_path, slow),
            write_inventory(tmp_path, netns_host),
            on_event=watch,
            cancelled=lambda: bool(started),
        )
    assert time.monotonic() - started[0] < 20
    assert not processes_with(str(tmp_path))


def test_ctrl_c_ends_ansible(netns_host: Host, tmp_path: Path) -> None:
    slow = {"name": "Wait", "ansible.builtin.command": {"argv": ["sleep", "600"]}, "changed_when": False}
    script = (
        "import sys; from pathlib import Path; from harness.provision.runner import run_playbook\n"
        "run_playbook(Path(sys.argv[1]), inventory=Path(sys.argv[2]), limit='all', extra_vars={},"
        " artifacts=Path(sys.argv[3]), on_event=lambda event: print(event.outcome, flush=True))"
    )
    arguments = [write_playbook(tmp_path, slow), write_inventory(tmp_path, netns_host), tmp_path / "artifacts"]
    argv = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repo_root()) as child:
        assert child.stdout
        assert child.stdout.readline() == "start\n"
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in stderr
    assert child.returncode != 0
    assert not processes_with(str(tmp_path))


def processes_with(word: str) -> list[str]:
    """Command lines that contain `word`, those of the test hosts apart."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line and "unshare" not in line and "setpriv" not in line:
            lines.append(line)
    return lines


def test_roles_converge_and_then_change_nothing(
    netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.mkdir()
    for name in ("vmlinuz", "initrd.img", "rootfs.qcow2", "initrd-ram.img"):
        (image / name).write_bytes(name.encode() * 1000)
    (image / "manifest.json").write_text(json.dumps({"digest": "0123abcd"}))
    base = {"role": str(ROLES / "base"), "vars": {"base_packages": ["python3", "sudo"]}}
    guest_image = {
        "role": str(ROLES / "guest_image"),
        "vars": {"guest_image_digest": "0123abcd", "guest_image_folder": str(image)},
    }
    playbook = write_playbook(tmp_path, roles=(base, guest_image))
    inventory = write_inventory(tmp_path, netns_host)
    first, _ = play(tmp_path, playbook, inventory)
    assert first.hosts[0].changed > 0
    there = machine_of(netns_host).root / "var/lib/nohype/guest-images"
    for file in image.iterdir():
        assert (there / "0123abcd" / file.name).read_bytes() == file.read_bytes()
    assert [path.name for path in there.iterdir()] == ["0123abcd"]
    second, _ = play(tmp_path, playbook, inventory)
    assert second.hosts[0].changed == 0


def test_an_image_that_came_half_is_not_there(
    netns_host: Host, machine_of: Callable[[Host], Machine], tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.mkdir()
    for name in ("vmlinuz", "initrd.img"):
        (image / name).write_text(name)
    role = {
        "role": str(ROLES / "guest_image"),
        "vars": {"guest_image_digest": "0123abcd", "guest_image_folder": str(image)},
    }
    playbook, inventory = write_playbook(tmp_path, roles=(role,)), write_inventory(tmp_path, netns_host)
    with pytest.raises(
        ProvisionError, match=r"neta: guest_image: Send the files: .*rootfs\.qcow2.* on the Ansible Controller"
    ):
        play(tmp_path, playbook, inventory)
    there = machine_of(netns_host).root / "var/lib/nohype/guest-images"
    assert not (there / "0123abcd").exists()
    for name in ("rootfs.qcow2", "initrd-ram.img", "manifest.json"):  # the next attempt begins where that one ended
        (image / name).write_text(name)
    play(tmp_path, playbook, inventory)
    assert sorted(path.name for path in (there / "0123abcd").iterdir()) == sorted(path.name for path in image.iterdir())


def test_role_arguments_are_checked(netns_host: Host, tmp_path: Path) -> None:
    role = {"role": str(ROLES / "guest_image"), "vars": {"guest_image_digest": "0123abcd"}}
    with pytest.raises(ProvisionError, match="nohype_image' is undefined"):
        play(tmp_path, write_playbook(tmp_path, roles=(role,)), write_inventory(tmp_path, netns_host))


def test_host_without_virtualization_is_told_what_to_mend(netns_host: Host, tmp_path: Path) -> None:
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    if {"svm", "vmx"} & set(flags):
        pytest.skip("this machine's CPU has virtualization")
    bundle = agent_bundle.build(tmp_path / "nohype-host")
    role = {"role": str(ROLES / "agent"), "vars": {"agent_bundle": str(bundle)}}
    with pytest.raises(ProvisionError, match="neither SVM nor VMX: switch virtualization"):
        play(tmp_path, write_playbook(tmp_path, roles=(role,)), write_inventory(tmp_path, netns_host))
