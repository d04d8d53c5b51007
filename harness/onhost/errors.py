"""The one error a user of `nohype-host` sees."""

from __future__ import annotations


class AgentError(Exception):
    """Says what happened, where, and what to do; printed as JSON for the control node."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def document(self) -> dict[str, dict[str, str]]:
        return {"error": {"what": self.what, "where": self.where, "fix": self.fix}}
