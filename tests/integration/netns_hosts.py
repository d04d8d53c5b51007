"""Hosts for tests: a Debian root with a real sshd in network, mount, process and host name spaces of its own.

Ansible, SSH and sudo are real, and may change every file they like: the root is an overlay over a cached one, kept in
memory. Everything a host consists of hangs on one process: when it ends, also because the test run was killed, the
kernel takes the host's processes, mounts, addresses and interfaces with it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.hosts.model import Host
from harness.results.model import Fidelity
from harness.toolbox.debian import RootRecipe, root_folder
from harness.toolbox.keys import make_key, public_text
from harness.wait import until

CONTROL_ADDRESS = "10.203.0.1"
USER = "nohype"  # may use sudo without a password
PLAIN_USER = "plain"  # may not

RECIPE = RootRecipe(
    name="netns-host",
    packages=(
        "openssh-server",
        "python3",
        "sudo",
        "iproute2",
        "systemd",
        "procps",
        "grub2-common",
        "linux-base",
        "tiny-initramfs",
        "kmod",
    ),
    files=(
        ("/etc/sudoers.d/nohype", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440),
        ("/etc/ssh/sshd_config.d/netns.conf", "PasswordAuthentication no\nUseDNS no\nUsePAM no\n", 0o644),
        # What a host that boots would have; ruled by the roles' own files elsewhere.
        ("/etc/machine-id", "6e6f6879706500000000000000000001\n", 0o444),
    ),
    commands=(
        *(("useradd", "--create-home", "--shell", "/bin/bash", user) for user in (USER, PLAIN_USER)),
        # No password rather than a locked account: sshd without PAM refuses the latter.
        *(("usermod", "--password", "*", user) for user in (USER, PLAIN_USER)),
        ("sh", "-c", "rm -f /etc/ssh/ssh_host_* /etc/hostname"),
    ),
)

# Runs as process 1 of the host. $1 root, $2 scratch, $3 address, $4 control node's address, $5 name.
# It waits for its interface (a line on stdin), then becomes sshd. No capability is left that reaches beyond its spaces.
_INIT = r"""
set -e
root=$1 scratch=$2 address=$3 control=$4 name=$5
hostname "$name"
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
new=$scratch/root
mount -t overlay -o "lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$new"
mount -t proc proc "$new/proc"
mount -t sysfs -o ro sysfs "$new/sys"
for each in sys irq bus sysrq-trigger; do
  [ -e "$new/proc/$each" ] || continue
  mount --bind "$new/proc/$each" "$new/proc/$each"
  mount -o remount,bind,ro "$new/proc/$each"
done
mount -t tmpfs -o mode=0755 tmpfs "$new/dev"
for each in null zero full random urandom tty; do
  touch "$new/dev/$each"
  mount --bind "/dev/$each" "$new/dev/$each"
done
mkdir "$new/dev/pts" "$new/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$new/dev/pts"
ln -s pts/ptmx "$new/dev/ptmx"
ln -s /proc/self/fd "$new/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$new/dev/shm"
mount -t tmpfs -o mode=0755 tmpfs "$new/run"
mkdir "$new/run/sshd" "$new/run/lock"
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$name" >"$new/etc/hosts"
echo "$name" >"$new/etc/hostname"
cp "$scratch.keys"/ssh_host_* "$new/etc/ssh/"
for user in nohype plain; do
  mkdir -p -m 700 "$new/home/$user/.ssh"
  cp "$scratch.keys/authorized_keys" "$new/home/$user/.ssh/authorized_keys"
  chroot "$new" chown -R "$user:" "/home/$user/.ssh"
done
echo ready
read -r _
ip link set lo up
ip address add "$address" peer "$control" dev eth0
ip link set eth0 up
exec setpriv --bounding-set=-sys_module,-sys_boot,-sys_time,-sys_rawio,-mac_admin,-syslog,-mknod \
  chroot "$new" /usr/sbin/sshd -D -e </dev/null >"$scratch.log" 2>&1
"""


@dataclass(frozen=True)
class Machine:
    """A running test host. `root` is its file system as the test sees it; `log` is what its sshd said."""

    host: Host
    pid: int
    root: Path
    log: Path
    process: subprocess.Popen[str]

    def runs(self, word: str) -> bool:
        """Whether a process of this host has `word` as an argument."""
        space = _processes_of(self.pid)
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if word.encode() in (path / "cmdline").read_bytes().split(b"\0") and _processes_of(path.name) == space:
                    return True
            except OSError:  # it has just ended
                continue
        return False

    def stop(self) -> None:
        """Pull the plug: no farewell to anybody, and its address answers nothing any more."""
        self.process.kill()
        self.process.wait()
        _unplug(self.host.address)
        # Else the address would be looked for beyond the machine's default route.
        _ip("route", "replace", "unreachable", self.host.address)


@contextmanager
def machine(name: str, scratch: Path, *, user: str = USER, known_key: str = "") -> Iterator[Machine]:
    """A host for the with-block. `scratch` is an empty folder.

    `known_key`: what known_hosts holds for it in place of its real key, e.g. `ssh-ed25519 AAAA...`.
    """
    scratch.chmod(0o755)
    lower = root_folder(RECIPE)
    keys = scratch / "disk.keys"
    keys.mkdir(mode=0o755)
    make_key(keys / "ssh_host_ed25519_key", f"host-{name}")
    make_key(scratch / "id_ed25519", "test-user")
    (keys / "authorized_keys").write_text(public_text(scratch / "id_ed25519") + "\n", encoding="utf-8")
    disk = scratch / "disk"
    disk.mkdir()
    with ExitStack() as stack:
        number = stack.enter_context(_number())
        address = f"10.203.0.{number}"
        stack.callback(_unplug, address)
        _unplug(address)  # a killed run may have left its route
        argv = [
            *("setpriv", "--pdeathsig", "KILL"),
            *(
                "unshare",
                "--mount",
                "--net",
                "--uts",
                "--ipc",
                "--pid",
                "--fork",
                "--kill-child",
                "--propagation=private",
            ),
            *("/bin/sh", "-c", _INIT, "init", str(lower), str(disk), address, CONTROL_ADDRESS, name),
        ]
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        stack.callback(_end, process)
        assert process.stdin
        assert process.stdout
        assert process.stderr
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"test host {name} does not start: {process.stderr.read()}")
        pid = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()[0])
        link = _link(address)
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        _ip("address", "add", CONTROL_ADDRESS, "peer", f"{address}/32", "dev", link)
        _ip("link", "set", link, "up")
        process.stdin.write("go\n")
        process.stdin.flush()
        known = scratch / "known_hosts"
        host_key = known_key or public_text(keys / "ssh_host_ed25519_key").rsplit(" ", 1)[0]
        known.write_text(f"{address} {host_key}\n", encoding="utf-8")
        host = Host(
            name=name,
            address=address,
            port=22,
            user=user,
            private_key=scratch / "id_ed25519",
            known_hosts=known,
            fidelity=Fidelity.EMULATED,
        )
        result = Machine(host, pid, Path(f"/proc/{pid}/root"), scratch / "disk.log", process)
        until(
            lambda: process.poll() is not None or "Server listening" in _text(result.log),
            seconds=20,
            what=f"sshd of test host {name}",
        )
        if process.poll() is not None:
            raise RuntimeError(f"test host {name} ended: {process.stderr.read()}{_text(result.log)}")
        yield result


@contextmanager
def _number() -> Iterator[int]:
    """A host number that no other test run on this machine has: 11 to 250."""
    folder = Path(tempfile.gettempdir()) / f"nohype-netns-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in range(11, 251):
        path = folder / str(number)
        with path.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
    raise RuntimeError("240 test hosts are in use: are test runs left over?")


def _processes_of(pid: int | str) -> Path:
    """The name space in which the process is numbered: every host has its own."""
    return Path(f"/proc/{pid}/ns/pid").readlink()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


def _link(address: str) -> str:
    """The interface on the control node's side."""
    return f"nht{address.rpartition('.')[2]}"


def _unplug(address: str) -> None:
    """Remove interface and routes at once; by itself the kernel would do so some moments after the host's end."""
    for words in (("link", "delete", _link(address)), ("route", "delete", "unreachable", address)):
        subprocess.run(["ip", *words], check=False, stderr=subprocess.DEVNULL)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
