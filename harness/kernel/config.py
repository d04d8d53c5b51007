"""Kernel configurations: whether what a fragment asks for is what came out."""

from __future__ import annotations

import re

_SET = re.compile(r"(CONFIG_\w+)=(.+)")
_UNSET = re.compile(r"# (CONFIG_\w+) is not set")


def settings(text: str) -> dict[str, str]:
    """Option and value of every line of a configuration; "n" for those that are not set."""
    found = {}
    for line in text.splitlines():
        if match := _SET.fullmatch(line.strip()):
            found[match[1]] = match[2]
        elif match := _UNSET.fullmatch(line.strip()):
            found[match[1]] = "n"
    return found


def refused(fragment: str, outcome: str) -> tuple[str, ...]:
    """What `fragment` asks for and `outcome` does not have, each as "CONFIG_X=y (is n)".

    The kernel's configuration drops what its source does not know or whose dependencies are missing, and says nothing.
    """
    got = settings(outcome)
    return tuple(
        f"{option}={wanted} (is {got.get(option, 'n')})"
        for option, wanted in settings(fragment).items()
        if got.get(option, "n") != wanted
    )
