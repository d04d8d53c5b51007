#!/usr/bin/env python3
"""Write anew what the documentation shows of a real run: README's table of exits, and the pictures in docs/img.

    .venv/bin/python docs/regenerate.py --takes "15 minutes on 2 cores, 4 GiB of memory, 8 GiB of disk"

What it writes into pages stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; everything else stays.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.analysis.exit_table import ExitTable
from harness.analysis.model import Comparison
from harness.cli import guarded
from harness.cli.campaign_data import CampaignArgument, find
from harness.cli.common import err, out, step
from harness.cli.tables import comparison_view
from harness.errors import InputError, UnavailableError
from harness.nightly.digest import render as render_digest
from harness.nightly.night import make_digest
from harness.paths import repo_root
from harness.report import words
from harness.report.html import write_report
from harness.report.source import comparison_of, report_input
from harness.results.model import CampaignRecord, Fidelity
from harness.results.store import Store

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
PICTURE_SECONDS = 120
HOSTS = {
    Fidelity.SILICON: "Real hosts",
    Fidelity.EMULATED: "Emulated rack",
    Fidelity.EMULATED_ICOUNT: "Emulated rack that counts instructions instead of time",
}


def main(
    campaign: CampaignArgument = None,
    takes: Annotated[
        str, typer.Option(metavar="TEXT", help="What a quickstart takes, as measured: minutes, memory, disk.")
    ] = "",
    pictures: Annotated[bool, typer.Option(help="Draw the pictures too; needs a Chromium.")] = True,
    checkout: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where README.md and docs/ are. Default: this checkout.")
    ] = None,
) -> None:
    """Write README's table and the documentation's pictures from a campaign of the results store.

    The digest is drawn where the campaign was a night of a nightly. To show a page of a running campaign, run this
    while it runs.
    """
    root = checkout or repo_root()
    with Store() as store:
        record = find(store, campaign)
        comparison = comparison_of(store, record)
        if record.revision.endswith("-dirty"):
            err.print(
                "[yellow]! the campaign ran from a checkout with changes; its revision does not tell which[/yellow]"
            )
        told = " ".join(filter(None, [label(record, comparison), words.more_exits(comparison)]))
        replace(root / "README.md", "exits", f"{markdown_table(comparison.exit_table)}\n\n{told}\n")
        if takes:
            replace(root / "README.md", "takes", takes)
        if pictures:
            draw(store, record, comparison, root)
    out.print(f"written from {record.id}; see: git diff --stat", soft_wrap=True)


def markdown_table(table: ExitTable) -> str:
    """The table of exits; a dash where nothing was measured."""
    rows = [["workload", *table.stacks], ["---", *["---:"] * len(table.stacks)]]
    rows += [[row.workload, *("–" if cell is None else words.number(cell) for cell in row.cells)] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def label(record: CampaignRecord, comparison: Comparison) -> str:
    """What the figures are and where they come from."""
    return f"{words.EXIT_TABLE}, {words.boots(comparison.exit_table)}. {origin(record)}"


def origin(record: CampaignRecord) -> str:
    """`Emulated rack, version 0.1.0 (0123456789ab), 2026-01-02.`"""
    return (
        f"{HOSTS[record.fidelity]}, version {record.harness_version} ({record.revision[:12]}), "
        f"{record.started_at:%Y-%m-%d}."
    )


def replace(page: Path, name: str, text: str) -> None:
    """Put `text` between the marks called `name`. Raises InputError where the page has them not exactly once."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    old = page.read_text(encoding="utf-8")
    found = re.findall(rf"{begin}\n.*?{end}", old, re.S)
    if len(found) != 1 or old.count(begin) != 1 or old.count(end) != 1:
        raise InputError(
            f"the marks {begin} and {end} are not there once each",
            where=str(page),
            fix="put them on lines of their own",
        )
    page.write_text(old.replace(found[0], f"{begin}\n{text}\n{end}"), encoding="utf-8")


def draw(store: Store, record: CampaignRecord, comparison: Comparison, root: Path) -> None:
    """The pictures, and below those in pages where they come from."""
    images, browser = root / "docs" / "img", find_browser()
    images.mkdir(parents=True, exist_ok=True)
    (images / "compare.svg").write_text(terminal_picture(comparison), encoding="utf-8")
    picture = "![The comparison in the terminal](img/compare.svg)"
    replace(root / "docs/tutorial.md", "compare", f"{picture}\n\n*({origin(record)})*\n")
    with tempfile.TemporaryDirectory() as folder, step("report.png"):
        page = write_report(Path(folder) / "report.html", report_input(store, record))
        photograph(browser, page.as_uri(), images / "report.png", 1000, 1560)
        replace(root / "README.md", "report", f"*({origin(record)})*")
    with step("serve.png"), serving() as address:
        photograph(browser, f"{address}/campaigns/{record.id}", images / "serve.png", 1000, 900)
        replace(root / "docs/how-to/watch.md", "serve", f"*({origin(record)})*")
    nights = [(each, night) for each in store.nightlies() for night in store.nights(each.name)]
    own = [(each, night) for each, night in nights if night.campaign_id == record.id and night.ended_at]
    if not own:
        err.print(f"digest.png stays as it is: {record.id} was no night (nohype nightly run)", soft_wrap=True)
        return
    with tempfile.TemporaryDirectory() as folder, step("digest.png"):
        page = Path(folder) / "digest.html"
        page.write_text(render_digest(make_digest(store, *own[-1])).html, encoding="utf-8")
        photograph(browser, page.as_uri(), images / "digest.png", 780, 600)
        replace(root / "docs/how-to/nightlies.md", "digest", f"*({origin(record)})*")


def terminal_picture(comparison: Comparison) -> str:
    """What `nohype compare` prints, as SVG."""
    console = Console(width=80, record=True, file=StringIO(), force_terminal=True)
    console.print(comparison_view(comparison))
    svg = console.export_svg(title="nohype compare")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)  # fonts of other sites: a picture loads nothing


def find_browser() -> str:
    """A Chromium. Raises UnavailableError."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise UnavailableError(
            "no Chromium to draw pictures with",
            fix=f"apt-get install {BROWSERS[0]}, or leave the pictures as they are: --no-pictures",
        )
    return found


def photograph(browser: str, address: str, path: Path, width: int, height: int) -> None:
    """A PNG of that size of the page. Raises UnavailableError where the browser makes none."""
    with tempfile.TemporaryDirectory() as profile:
        argv = [browser, "--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        argv += ["--no-sandbox"] if os.geteuid() == 0 else []  # as root it has none; it sees our own pages alone
        argv += [f"--window-size={width},{height}", f"--screenshot={profile}/page.png", address]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=PICTURE_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"no picture after {PICTURE_SECONDS} s", where=address) from None
        picture = Path(profile) / "page.png"
        if done.returncode or not picture.exists():
            raise UnavailableError(f"no picture: {done.stderr.strip()[-300:]}", where=address)
        shutil.copyfile(picture, path)


@contextmanager
def serving() -> Iterator[str]:
    """`nohype serve` on a free port; its address, without the last slash."""
    argv = [sys.executable, "-c", "from harness.cli import main; main()", "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}) as process:
        assert process.stderr
        try:
            line = process.stderr.readline()
            found = re.search(r"(http://\S+)/ ", line)
            if found is None:
                raise UnavailableError(f"no server: {line.strip()}", where="nohype serve")
            yield found[1]
        finally:
            process.terminate()


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
