"""A login that is never answered is a host out of reach, not a wrong key."""

import socket
import threading

import paramiko
import pytest

from harness.errors import HostUnreachableError
from harness.hosts.link import Link
from harness.toolbox.keys import make_key


class Silent(paramiko.ServerInterface):
    """Takes the key exchange and leaves the login unanswered, as a machine does that hangs."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        self.ended.wait(30)
        return paramiko.AUTH_FAILED


def test_a_login_without_an_answer_is_a_host_out_of_reach(tmp_path):
    make_key(tmp_path / "id", "login")
    host_key = paramiko.RSAKey.generate(2048)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    known = paramiko.HostKeys()
    known.add(f"[127.0.0.1]:{port}", "ssh-rsa", host_key)
    silent = Silent()

    def serve():
        transport = paramiko.Transport(listener.accept()[0])
        transport.add_server_key(host_key)
        transport.start_server(server=silent)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        with pytest.raises(HostUnreachableError, match=r"(?i)authentication timeout"):
            Link("h1", "127.0.0.1", port, "root", tmp_path / "id", known, known="the test", timeout=1)
    finally:
        silent.ended.set()
        thread.join(10)
        listener.close()
