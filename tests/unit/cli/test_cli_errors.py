"""What a user sees of an error, and what a script."""

from __future__ import annotations

import pytest

from harness import cli
from harness.errors import HarnessError, UnavailableError


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (UnavailableError("no rack", where="here", fix="make one"), 3, "error: here: no rack\n  to mend: make one\n"),
        # What programs say is shown as it is, whatever it would mean as markup.
        (HarnessError("make: *** [/x/Makefile:8: .] Error 2"), 1, "error: make: *** [/x/Makefile:8: .] Error 2\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_errors(
    error: BaseException, code: int, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("harness.cli.app.app", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == code
    assert capsys.readouterr().err == shown
