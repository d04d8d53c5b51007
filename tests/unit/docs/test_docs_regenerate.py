"""README's table of exits is that of a campaign, and nothing else of the page changes."""

from __future__ import annotations

import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import invented_quickstart
import pytest
import typer
from typer.testing import CliRunner

from harness.analysis.exit_table import exit_table
from harness.errors import InputError, UnavailableError
from harness.paths import repo_root
from harness.report import words
from harness.results.store import Store

TAKES = "About 7 of my minutes (invented)."
BETWEEN = r"<!-- begin {0} -->\n(.*?)<!-- end {0} -->"

Run = Callable[..., str]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the pages that are written."""
    folder = tmp_path / "checkout"
    for name in ("README.md", "docs/tutorial.md", "docs/how-to/watch.md", "docs/how-to/nightlies.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repo_root() / name, folder / name)
    return folder


@pytest.fixture
def regenerate(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, on a store with an invented campaign; it returns README as it is then."""
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("NOHYPE_DATABASE_URL", raising=False)
    with Store() as store:
        invented_quickstart.keep(store, invented_quickstart.trials())
    app = typer.Typer()
    app.command()(runpy.run_path(str(repo_root() / "docs/regenerate.py"))["main"])

    def run(*options: str) -> str:
        CliRunner().invoke(app, ["--checkout", str(checkout), *options], catch_exceptions=False)
        return (checkout / "README.md").read_text(encoding="utf-8")

    return run


def between(text: str, name: str) -> str:
    (found,) = re.findall(BETWEEN.format(name), text, re.S)
    return str(found)


def test_the_table_is_the_campaigns_and_says_where_it_comes_from(regenerate: Run) -> None:
    written = between(regenerate("--no-pictures"), "exits")
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in written.splitlines() if "|" in line]
    table = exit_table(invented_quickstart.trials())
    assert rows[0] == ["workload", *invented_quickstart.STACKS]
    assert rows[2:] == [
        [row.workload, *(words.number(cell) for cell in row.cells if cell is not None)] for row in table.rows
    ]
    assert "means of 2 boots. Emulated rack, version 0.1.0 (0123456789ab), 2026-01-02." in written


def test_nothing_else_of_the_page_changes_and_a_second_run_changes_nothing(regenerate: Run, checkout: Path) -> None:
    before = (checkout / "README.md").read_text(encoding="utf-8")
    first = regenerate("--no-pictures")
    assert between(first, "exits") != between(before, "exits")
    assert between(first, "takes") == between(before, "takes")
    text = first
    assert regenerate("--no-pictures", "quickstart") == text
    for page in (before, text):
        assert "## Layout" in page
    assert re.sub(BETWEEN.format("exits"), "", text, flags=re.S) == re.sub(
        BETWEEN.format("exits"), "", before, flags=re.S
    )


def test_the_first_thirty_lines_have_the_result_what_it_takes_and_the_two_commands(regenerate: Run) -> None:
    opening = "\n".join(regenerate("--no-pictures", "--takes", TAKES).splitlines()[:30])
    for wanted in ("| network-throughput |", TAKES, "make quickstart", "make test", "Emulated rack, version"):
        assert wanted in opening, wanted


def test_a_page_without_the_marks_is_refused_and_stays(regenerate: Run, checkout: Path) -> None:
    page = checkout / "README.md"
    text = page.read_text(encoding="utf-8").replace("<!-- end exits -->", "")
    page.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="begin exits"):
        regenerate("--no-pictures")
    assert page.read_text(encoding="utf-8") == text


def test_without_a_browser_it_says_what_to_install(
    regenerate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="apt-get install chromium-headless-shell"):
        regenerate()
