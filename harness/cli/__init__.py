"""The command `nohype`."""

from __future__ import annotations

import sys

from harness.errors import ExitCode, HarnessError


def main() -> None:
    """Run the command line: errors become a message on stderr and an exit code that scripts can trust."""
    from harness.cli.app import app
    from harness.cli.common import err

    try:
        app()
    except HarnessError as error:
        err.print("[bold red]error:[/bold red]", str(error), markup=True, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(ExitCode.INTERRUPTED)
