"""`nohype compare`, `report` and `results export` on a real store."""

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import tables
from harness.cli.compare import compare
from harness.cli.report import report
from harness.cli.results import app as results
from harness.errors import InputError
from harness.report import words
from harness.results.model import Fidelity, Note, NoteKind, Status
from harness.results.store import Store


@pytest.fixture
def nohype(tmp_path, monkeypatch):
    """Run a command; errors come out as they are."""
    monkeypatch.setenv("NOHYPE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("NOHYPE_DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(compare)
    app.command()(report)
    app.add_typer(results, name="results")

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, list(words), env={"COLUMNS": "120"}, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


@pytest.fixture
def stored(nohype, invented):
    """The invented campaign in the store, and a later one of the same name, with fewer boots."""
    source = invented()
    earlier = source.campaign
    later = replace(earlier, id="quickstart-later", started_at=earlier.started_at + timedelta(days=1))
    with Store() as store:
        for fingerprint in source.fingerprints:
            store.add_fingerprint(fingerprint)
        for campaign, sign in ((earlier, ""), (later, "later-")):
            store.add_campaign(campaign)
            for block in source.blocks:
                store.add_block(replace(block, id=sign + block.id, campaign_id=campaign.id))
            for trial in source.trials:
                if not sign or trial.block_id.startswith("block-0"):
                    changed = {"id": sign + trial.id, "campaign_id": campaign.id, "block_id": sign + trial.block_id}
                    store.add_trial(replace(trial, **changed))
        store.add_note(Note(earlier.id, NoteKind.PROMETHEUS, "rack1/g1", "", earlier.started_at))
    return source


def test_compare_shows_what_the_comparison_says(nohype, stored):
    shown = nohype("compare", "quickstart-fixture")
    assert "kvm-tuned over kvm (emulated)" in shown
    for row in stored.comparison.metrics:
        assert words.ratio(row.contrasts[0].effect) in shown
    assert "2 of 60 trials failed" in shown


def test_compare_takes_the_latest_by_default_and_by_name(nohype, stored):
    assert "quickstart-later" in nohype("compare").splitlines()[0]
    assert "quickstart-later" in nohype("compare", stored.campaign.name).splitlines()[0]
    assert "too few boots" in nohype("compare")


def test_compare_as_json(nohype, stored):
    document = json.loads(nohype("compare", "quickstart-fixture", "--json", "--baseline", "kvm-tuned"))
    assert document["stacks"] == ["kvm-tuned", "kvm"]
    assert document["fidelity"] == "emulated"
    idle = next(row for row in document["metrics"] if (row["workload"], row["metric"]) == ("idle", "exits_per_second"))
    (contrast,) = idle["contrasts"]
    assert contrast["verdict"] == "worse"
    assert contrast["effect"]["low"] < contrast["effect"]["ratio"] < contrast["effect"]["high"]


def test_report_writes_and_prints_its_path(nohype, stored, tmp_path):
    path = nohype("report", "quickstart-fixture").strip()
    assert path == str(tmp_path / "state/artifacts/quickstart-fixture/report.html")
    text = (tmp_path / "state/artifacts/quickstart-fixture/report.html").read_text(encoding="utf-8")
    assert "For 1 guest that ended" in text
    assert nohype("report", "quickstart-fixture", "-o", "own.html").strip() == str(tmp_path / "own.html")


def test_export_has_every_trial(nohype, stored, tmp_path):
    path = nohype("results", "export", "quickstart-fixture", "--format", "csv").strip()
    assert path == "quickstart-fixture.csv"
    with (tmp_path / path).open(encoding="utf-8") as file:
        assert {row["trial"] for row in csv.DictReader(file)} == {trial.id for trial in stored.trials}


def test_no_results_and_unknown_campaigns_are_refused(nohype, tmp_path):
    with pytest.raises(InputError, match="nohype campaign run"):
        nohype("compare")
    with pytest.raises(InputError):
        nohype("report", "nonsense")


def test_an_unknown_campaign_names_the_nearest(nohype, stored):
    with pytest.raises(InputError, match="did you mean 'quickstart-fixture'"):
        nohype("compare", "quickstart-fixtrue")


def test_mixed_fidelity_is_refused(nohype, stored):
    odd = replace(stored.trials[0], id="odd", fidelity=Fidelity.SILICON)
    with Store() as store:
        store.add_trial(odd)
    with pytest.raises(InputError, match="silicon: odd"):
        nohype("compare", "quickstart-fixture")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_table_fits_the_terminal(invented, width):
    source = invented(boots=2)
    failed = tuple(replace(trial, status=Status.FAILED, failure="[red]x[/red]") for trial in source.trials[:1])
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(tables.comparison_view(replace(source.comparison, failed=failed)))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "2+2; 3+4" in text
    assert "[red]x[/red]" in text
