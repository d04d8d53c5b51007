"""The command `nohype`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from harness.errors import ExitCode, HarnessError


def main() -> None:
    """Run the command line."""
    from harness.cli.app import app

    guarded(app)


def guarded(command: Callable[[], object]) -> None:
    """Run `command`: errors become a message on stderr and an exit code that scripts can trust."""
    from rich.markup import escape

    from harness.cli.common import err

    try:
        command()
    except HarnessError as error:
        err.print("[bold red]error:[/bold red]", escape(str(error)), highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(ExitCode.INTERRUPTED)
