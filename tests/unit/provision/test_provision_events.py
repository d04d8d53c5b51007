"""Events of ansible-runner 2.4 and ansible-core 2.19, as they were recorded on a Debian trixie host, shortened."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.errors import HostKeyError, HostUnreachableError, ProvisionError, UnavailableError
from harness.provision.events import failure, message, translate
from harness.provision.model import TaskEvent

WRONG_KEY = (
    'Task failed: Data could not be sent to remote host "10.203.0.11". Make sure this host can be reached over ssh: '
    "@@@@@@@@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n@@@@@@@@@@@\r\n"
    "Host key for 10.203.0.11 has changed and you have requested strict checking.\r\nHost key verification failed."
)
WRONG_KEY_MITOGEN = (
    "Task failed: Host key checking is enabled, and SSH reported an unrecognized or mismatching host key."
)
GONE = (
    'Task failed: Data could not be sent to remote host "10.203.0.99". Make sure this host can be reached over ssh: '
    "ssh: connect to host 10.203.0.99 port 22: No route to host"
)
GONE_MITOGEN = (
    "Task failed: EOF on stream; last 100 lines received:\nssh: connect to host 10.203.0.99 port 22: No route to host"
)


def event(kind: str, **data: Any) -> dict[str, Any]:
    return {"event": kind, "event_data": {"host": "h", "task": "Do it", "role": "base", "duration": 1.5, **data}}


@pytest.mark.parametrize(
    ("kind", "data", "outcome"),
    [
        ("runner_on_start", {}, "start"),
        ("runner_on_ok", {"res": {"changed": False}}, "ok"),
        ("runner_on_ok", {"res": {"changed": True}}, "changed"),
        ("runner_on_skipped", {"res": {"skipped": True}}, "skipped"),
        ("runner_on_failed", {"res": {"msg": "no"}}, "failed"),
        ("runner_on_failed", {"res": {"msg": "no"}, "ignore_errors": True}, "ok"),
        ("runner_on_unreachable", {"res": {"msg": GONE, "unreachable": True}}, "unreachable"),
    ],
)
def test_outcomes(kind: str, data: dict[str, Any], outcome: str) -> None:
    ours = translate(event(kind, **data))
    assert ours
    assert (ours.host, ours.title, ours.outcome, ours.seconds) == ("h", "base: Do it", outcome, 1.5)
    assert bool(ours.message) == (outcome in ("failed", "unreachable"))


def test_events_about_no_host_are_none() -> None:
    for kind in ("playbook_on_play_start", "playbook_on_task_start", "verbose", "runner_item_on_ok"):
        assert translate({"event": kind, "event_data": {"name": "x"}}) is None


def test_role_given_by_path_is_its_name() -> None:
    ours = translate(event("runner_on_start", role="/srv/playbooks/roles/agent"))
    assert ours
    assert ours.role == "agent"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"msg": "Task failed: Module failed: no such package"}, "no such package"),
        (
            {
                "msg": "Task failed: Module failed: non-zero return code",
                "rc": 1,
                "cmd": ["cat", "/etc/stars"],
                "stderr": "cat: /etc/stars: No such file or directory",
            },
            "cat /etc/stars ended with status 1: cat: /etc/stars: No such file or directory",
        ),
        (
            {"msg": "non-zero return code", "rc": 3, "cmd": "set -e\nfalse", "stderr": "", "stdout": ""},
            "set -e ended with status 3: it said nothing",
        ),
        (
            {"censored": "the output has been hidden", "msg": "secret"},
            "its output is hidden, because it may hold secrets (no_log)",
        ),
        (
            {
                "msg": "One or more items failed",
                "results": [
                    {"failed": False, "msg": "All assertions passed"},
                    {"failed": True, "msg": "too few"},
                    {"failed": True, "msg": "too few"},
                    {"failed": True, "msg": "odd"},
                ],
            },
            "too few; odd",
        ),
        (
            {"msg": "failed to validate", "exit_status": 1, "stdout": "Checking", "stderr": "FAILED: not a duration"},
            "failed to validate: FAILED: not a duration\nChecking",
        ),
        ({}, "no message"),
    ],
)
def test_messages(result: dict[str, Any], text: str) -> None:
    assert message(result) == text


def test_long_output_is_cut_to_its_end() -> None:
    result = {"msg": "non-zero return code", "rc": 1, "cmd": "x", "stderr": "\n".join(f"line {n}" for n in range(100))}
    assert message(result).splitlines() == ["x ended with status 1: line 92", *(f"line {n}" for n in range(93, 100))]


def test_the_agents_error_is_unpacked() -> None:
    said = json.dumps({"error": {"what": "no PF 'data0'", "where": "/etc/nohype/sriov.json", "fix": "name another"}})
    result = {"msg": "non-zero return code", "rc": 1, "cmd": ["nohype-host", "vf", "setup"], "stderr": f"noise\n{said}"}
    assert message(result) == "/etc/nohype/sriov.json: no PF 'data0'; to mend: name another"


def lost(text: str, outcome: str = "unreachable", host: str = "h") -> TaskEvent:
    return TaskEvent(host, "Do it", "base", outcome, message({"msg": text}), 1.0)


@pytest.mark.parametrize(
    ("bad", "kind", "text"),
    [
        (lost(WRONG_KEY), HostKeyError, "h: the host shows another SSH host key"),
        (lost(WRONG_KEY_MITOGEN), HostKeyError, "h: the host shows another SSH host key"),
        (lost(GONE), HostUnreachableError, "ssh: connect to host 10.203.0.99 port 22: No route to host"),
        (lost(GONE_MITOGEN), HostUnreachableError, "ssh: connect to host 10.203.0.99 port 22: No route to host"),
        (lost("Task failed: SSH authentication is incorrect"), UnavailableError, "h: login is refused"),
        (lost("Task failed: Missing sudo password", "failed"), UnavailableError, "h: the user may not use sudo"),
        (
            lost("Task failed: error occurred on host h: sudo password is required", "failed"),
            UnavailableError,
            "h: the user may not use sudo",
        ),
        (lost("Task failed: Module failed: disk full", "failed"), ProvisionError, "h: base: Do it: disk full"),
    ],
)
def test_kinds_of_failure(bad: TaskEvent, kind: type[Exception], text: str) -> None:
    error = failure([bad])
    assert type(error) is kind
    assert text in str(error)


def test_several_hosts() -> None:
    both_gone = failure([lost(GONE, host="a"), lost(GONE, host="b")])
    assert type(both_gone) is HostUnreachableError
    mixed = failure([lost(GONE, host="a"), lost("broken", "failed", host="b")])
    assert type(mixed) is ProvisionError
    assert mixed.what.splitlines()[0] == "2 hosts failed"
    assert [line.split(":")[0].strip() for line in mixed.what.splitlines()[1:]] == ["a", "b"]
    assert type(failure([lost(GONE, host="a"), lost(WRONG_KEY, host="b")])) is HostKeyError
