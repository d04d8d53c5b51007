"""Turn Ansible's events and failures into the harness's own: short, and saying what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError, HostKeyError, HostUnreachableError, ProvisionError, UnavailableError
from harness.provision.model import CHANGED, FAILED, OK, SKIPPED, START, UNREACHABLE, TaskEvent

# Words that ansible-core 2.19 puts before a module's own message.
_PREFIXES = re.compile(
    r"^(Task failed|Module failed|Action failed|Module result deserialization failed|"
    r"Data could not be sent to remote host \S+ Make sure this host can be reached over ssh|"
    r"EOF on stream; last 100 lines received|Failed to connect to the host via ssh|"
    r"error occurred on host \S+|Unexpected \w+ error)[:.]\s*"
)
_TAIL_LINES = 8
_HOST_KEY = re.compile(
    r"host key verification failed|remote host identification has changed|mismatching host key|host key is known for",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"permission denied \(|ssh authentication is incorrect|too many authentication", re.IGNORECASE)
_SUDO = re.compile(
    r"(missing|incorrect) sudo password|sudo password is (required|incorrect)|not in the sudoers|not allowed to execute"
    r"|sudo: a password is required|may not run sudo|sudo: (command )?not found",
    re.IGNORECASE,
)


def translate(event: Mapping[str, Any]) -> TaskEvent | None:
    """An event of ansible-runner as ours; None for those that are not about a task on a host."""
    data = event.get("event_data") or {}
    result = data.get("res") or {}
    kind = event.get("event")
    if kind == "runner_on_start":
        outcome = START
    elif kind == "runner_on_ok":
        outcome = CHANGED if result.get("changed") else OK
    elif kind == "runner_on_skipped":
        outcome = SKIPPED
    elif kind == "runner_on_failed":
        outcome = OK if data.get("ignore_errors") else FAILED
    elif kind == "runner_on_unreachable":
        outcome = UNREACHABLE
    else:
        return None
    return TaskEvent(
        host=str(data.get("host", "")),
        task=str(data.get("task", "")),
        role=str(data.get("role", "")).rpartition("/")[2],
        outcome=outcome,
        message=message(result) if outcome in (FAILED, UNREACHABLE) else "",
        seconds=float(data.get("duration") or 0.0),
    )


def message(result: Mapping[str, Any]) -> str:
    """Why a task failed, from its result: the module's words, a program's last lines, or nohype-host's error."""
    if "censored" in result:
        return "its output is hidden, because it may hold secrets (no_log)"
    failed = [item for item in result.get("results") or [] if isinstance(item, Mapping) and item.get("failed")]
    if failed:
        return "; ".join(dict.fromkeys(message(item) for item in failed))
    text = _without_prefixes(str(result.get("msg") or "no message"))
    if text == "failed to validate":  # a file that its own program refuses: what that program said is the reason
        said = f"{result.get('stderr') or ''}\n{result.get('stdout') or ''}".strip()
        return f"{text}: {_tail(said)}"
    if "rc" not in result or not text.startswith("non-zero return code"):
        return _tail(text)
    stderr = str(result.get("stderr") or "").strip()
    agent = _agent_error(stderr)
    if agent:
        return agent
    command = result.get("cmd") or "the command"
    shown = " ".join(map(str, command)) if isinstance(command, list) else str(command).strip().partition("\n")[0]
    said = stderr or str(result.get("stdout") or "").strip() or "it said nothing"
    return f"{shown} ended with status {result['rc']}: {_tail(said)}"


def failure(events: Sequence[TaskEvent]) -> HarnessError:
    """The error for the hosts' last failed tasks, one event a host.

    HostKeyError where a host showed a wrong key; HostUnreachableError only where every host is out of reach;
    UnavailableError where login or sudo are refused; else ProvisionError.
    """
    errors = [_one(event) for event in events]
    if len(errors) == 1:
        return errors[0]
    kinds = {type(error) for error in errors}
    wrong_key = kinds & {HostKeyError}
    kind = HostKeyError if wrong_key else kinds.pop() if len(kinds) == 1 else ProvisionError
    fixes = dict.fromkeys(error.fix for error in errors if error.fix)
    lines = "".join(f"\n  {error.where}: {error.what}" for error in errors)
    return kind(f"{len(errors)} hosts failed{lines}", fix="; ".join(fixes))


def _one(event: TaskEvent) -> HarnessError:
    host, text = event.host, event.message
    if _SUDO.search(text):
        return UnavailableError(
            "the user may not use sudo without a password",
            where=host,
            fix="on the host, as root: echo 'USER ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/nohype "
            "(USER being the inventory's ansible_user)",
        )
    if event.outcome != UNREACHABLE:
        return ProvisionError(f"{event.title}: {text}", where=host)
    if _HOST_KEY.search(text):
        return HostKeyError(
            "the host shows another SSH host key than known_hosts has for it, or none is known",
            where=host,
            fix="if the host was installed anew, put its new key into the inventory's nohype_known_hosts file; "
            "if not, find out who answers at its address",
        )
    last = text.splitlines()[-1].strip()
    if _LOGIN.search(text):
        return UnavailableError(
            f"login is refused: {last}",
            where=host,
            fix="put the public key of the inventory's ansible_ssh_private_key_file into the user's authorized_keys",
        )
    return HostUnreachableError(f"no SSH connection: {last}", where=host, fix=f"is it on? nohype hosts, or ping {host}")


def _without_prefixes(text: str) -> str:
    while True:
        shorter = _PREFIXES.sub("", text.strip(), count=1)
        if shorter in (text, ""):
            return text
        text = shorter


def _agent_error(stderr: str) -> str:
    """What nohype-host says on its last line (harness/onhost/errors.py), as one line; "" if that is not it."""
    try:
        error = json.loads(stderr.splitlines()[-1])["error"]
        what, where, fix = (str(error[key]) for key in ("what", "where", "fix"))
    except (IndexError, ValueError, KeyError, TypeError):
        return ""
    return (f"{where}: " if where else "") + what + (f"; to mend: {fix}" if fix else "")


def _tail(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-_TAIL_LINES:])
