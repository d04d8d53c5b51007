"""`nohype compare`, `report` and `results export` on a real store."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import timedelta

import invented_quickstart
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from harness.analysis.compare import MARGIN
from harness.analysis.compare import compare as compare_trials
from harness.analysis.model import Verdict
from harness.campaign.register import DONE, INTERRUPTED, Outcome
from harness.cli import campaign_run, detail_tables, tables
from harness.cli.campaign import finish
from harness.cli.compare import compare
from harness.cli.quickstart import quickstart
from harness.cli.report import report
from harness.cli.results import app as results
from harness.errors import InputError
from harness.report import words
from harness.results.model import Fidelity, Fingerprint, Note, NoteKind, Status
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

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(words), env={"COLUMNS": "120"}, catch_exceptions=False)
        assert done.exit_code == code, done.output
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
    for row in stored.comparison.exit_table.rows:
        for cell in row.cells:
            assert words.number(cell) in shown
    for row in stored.comparison.metrics:
        if row.metric not in words.EXIT_METRICS:
            assert words.ratio(row.contrasts[0].effect) in shown
    assert "2 of 60 trials failed" in shown
    assert words.NOT_JUDGED in shown
    assert "Against kvm: ✓ better" in shown


def test_marks_are_explained():
    comparison = compare_trials(invented_quickstart.trials(fidelity=Fidelity.SILICON))
    text = " ".join(drawn(tables.comparison_view(comparison), 120).split())
    assert {Verdict.BETTER, Verdict.WORSE, Verdict.NOT_DECIDED} == {
        contrast.verdict for row in comparison.metrics for contrast in row.contrasts
    }
    assert "Against kvm: ✓ better, ✗ worse, ? not decided (" in text
    assert "within 1 % of 1" in text


def test_details_have_every_ratio_with_its_interval(nohype, stored):
    shown = nohype("compare", "quickstart-fixture", "--details")
    assert "kvm-tuned over kvm (emulated)" in shown
    flat = " ".join(shown.split())
    for row in stored.comparison.metrics:
        assert words.ratio(row.contrasts[0].effect) in shown
        assert words.interval(row.contrasts[0].effect) in flat
    assert "2 of 60 trials failed" in shown
    assert "not decided" in shown
    assert "not judged" in shown
    assert "within 1 % of 1" in flat


def test_compare_takes_the_latest_by_default_and_by_name(nohype, stored):
    assert "quickstart-later" in nohype("compare").splitlines()[0]
    assert "quickstart-later" in nohype("compare", stored.campaign.name).splitlines()[0]
    assert "too few boots" in nohype("compare")


def test_compare_as_json(nohype, stored):
    document = json.loads(nohype("compare", "quickstart-fixture", "--json", "--baseline", "kvm-tuned"))
    assert document["stacks"] == ["kvm-tuned", "kvm"]
    assert document["fidelity"] == "emulated"
    assert document["margin"] == MARGIN
    idle = next(row for row in document["metrics"] if (row["workload"], row["metric"]) == ("idle", "exits_per_second"))
    (contrast,) = idle["contrasts"]
    assert contrast["verdict"] == "worse"
    assert contrast["effect"]["low"] < contrast["effect"]["ratio"] < contrast["effect"]["high"]
    assert idle["judged"] is True
    throughput = next(row for row in document["metrics"] if row["metric"] == "throughput")
    assert throughput["judged"] is False
    assert throughput["contrasts"][0]["verdict"] is None
    assert throughput["contrasts"][0]["effect"]["ratio"] > 0
    assert document["exit_table"]["stacks"] == ["kvm-tuned", "kvm"]
    assert {row["workload"] for row in document["exit_table"]["rows"]} == {
        row["workload"] for row in document["metrics"]
    }
    assert document["more_exits"] is None


def test_known_differences_are_told_with_their_reason(nohype, stored):
    shown = nohype("compare", "quickstart-fixture", "--details")
    assert "each stack has a boot entry of its own" in shown
    assert "ot explained" not in shown
    assert "ot explained" not in nohype("compare", "quickstart-fixture")


@pytest.fixture
def doubtful(stored):
    """The later campaign with a host whose microcode was another one in one of the stacks."""
    with Store() as store:
        facts = {**dict(stored.fingerprints[0].facts), "cpu.microcode": "0x2"}
        store.add_fingerprint(Fingerprint("rack1", "c" * 64, tuple(facts.items())))
        store.add_trial(replace(stored.trials[0], id="odd", fingerprint="c" * 64))
    return stored


def test_differences_that_nothing_explains_end_with_code_1_unless_they_are_allowed(nohype, doubtful, tmp_path):
    shown = " ".join(nohype("compare", "quickstart-fixture", code=1).split())
    assert "Not explained: 1 fact of hosts or guests differs" in shown
    assert "cpu.microcode on rack1" in shown
    assert "changed within a stack" in shown
    document = json.loads(nohype("compare", "quickstart-fixture", "--json", code=1))
    assert [found["fact"] for found in document["unexplained"]] == ["cpu.microcode"]
    allow = ("--allow-differences", "bios.version,cpu.micro*")
    assert "Not explained" not in nohype("compare", "quickstart-fixture", *allow)
    assert json.loads(nohype("compare", "quickstart-fixture", "--json", *allow))["unexplained"] == []
    page = tmp_path / "page.html"
    nohype("report", "quickstart-fixture", "-o", str(page))
    assert "Not explained: 1 fact" in page.read_text(encoding="utf-8")
    nohype("report", "quickstart-fixture", "-o", str(page), *allow)
    assert "Not explained" not in page.read_text(encoding="utf-8")


def test_guests_that_could_reset_their_hosts_are_told_of_first(nohype, stored, tmp_path):
    page = tmp_path / "page.html"
    nohype("report", "quickstart-fixture", "-o", str(page))
    assert "Unsafe" not in page.read_text(encoding="utf-8") + nohype("compare", "quickstart-fixture")
    with Store() as store:
        facts = {**dict(stored.fingerprints[0].facts), "guest.icr": "open"}
        store.add_fingerprint(Fingerprint("rack1", "c" * 64, tuple(facts.items())))
        store.add_trial(replace(stored.trials[0], id="open", stack="nohype", fingerprint="c" * 64))
    told = "Unsafe: guests of nohype had an open ICR (icr: open)."
    for words_ in ((), ("--details",)):
        assert told in " ".join(nohype("compare", "quickstart-fixture", *words_).split())
    assert json.loads(nohype("compare", "quickstart-fixture", "--json"))["icr_open"] == ["nohype"]
    nohype("report", "quickstart-fixture", "-o", str(page))
    assert told in page.read_text(encoding="utf-8")


def test_the_campaign_file_names_the_usual_baseline(nohype, stored):
    other = replace(stored.campaign, id="other-1", name="other", spec_text="name: other\nbaseline: kvm-tuned\n")
    with Store() as store:
        store.add_campaign(other)
        for block in stored.blocks:
            store.add_block(replace(block, id=f"o-{block.id}", campaign_id=other.id))
        for trial in stored.trials:
            changed = {"id": f"o-{trial.id}", "campaign_id": other.id, "block_id": f"o-{trial.block_id}"}
            store.add_trial(replace(trial, **changed))
    assert json.loads(nohype("compare", "other", "--json"))["baseline"] == "kvm-tuned"
    assert json.loads(nohype("compare", "other", "--json", "--baseline", "kvm"))["baseline"] == "kvm"


@pytest.mark.parametrize("status", [DONE, INTERRUPTED])
def test_quickstart_ends_as_campaigns_do(nohype, stored, monkeypatch, status):
    """FIXTURE: neither rack nor campaign; what it tells in the end is the matter."""
    outcome = Outcome(stored.campaign.id, status, 60, 2, ("rack1: g1: vCPU 0, [hlt]: 1 in Prometheus, 2 in the store",))
    monkeypatch.setattr("harness.cli.quickstart.prepare", lambda *_words: 420.0)
    monkeypatch.setattr(campaign_run, "start", lambda *_words, **_options: outcome)
    app = typer.Typer()
    app.command()(quickstart)
    done = CliRunner().invoke(app, env={"COLUMNS": "120"})
    with pytest.raises(typer.Exit) as left:
        finish(outcome, as_json=False)
    assert done.exit_code == left.value.exit_code == outcome.exit_code
    assert "2 failed" in done.stdout
    assert f"Prometheus disagrees: {outcome.disagreements[0]}" in done.stdout
    assert ("next: nohype campaign resume" in done.stdout) == (status == INTERRUPTED)
    assert ("report: " in done.stdout) == ("Against kvm, kvm-tuned" in done.stdout) == (status == DONE)


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


def test_a_stack_without_exits_has_zeros_in_the_terminal_too(invented):
    trials = invented(boots=2).trials
    third = [replace(trial, stack="nohype", exits=()) for trial in trials if trial.stack == "kvm-tuned"]
    console = Console(width=160, record=True, file=io.StringIO())
    comparison = compare_trials([*trials, *third])
    console.print(tables.comparison_view(comparison))
    console.print(detail_tables.details_view(comparison))
    text = console.export_text()
    table = text[text.index("VM exits per second by reason") :]
    rows = [line.split() for line in table.splitlines()]
    assert [row[-1] for row in rows if row[:1] == ["idle"]] == ["0"]
    assert next(row[-1] for row in rows if row[:1] == ["hlt"]) == "0"
    assert "nohype made fewer VM exits in boot (0×), idle (0×)" in " ".join(text.split())


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_table_fits_the_terminal(invented, width):
    source = invented(boots=2)
    failed = tuple(replace(trial, status=Status.FAILED, failure="[red]x[/red]") for trial in source.trials[:1])
    comparison = replace(source.comparison, failed=failed)
    brief, full = drawn(tables.comparison_view(comparison), width), drawn(detail_tables.details_view(comparison), width)
    assert max(map(len, [*brief.splitlines(), *full.splitlines()])) <= width
    assert "2+2; 3+4" in full
    assert "[red]x[/red]" in brief
    assert "[red]x[/red]" in full


@pytest.mark.parametrize("failed", [0, 5])
@pytest.mark.parametrize("fidelity", list(Fidelity))
def test_a_quickstart_fits_one_screen(fidelity, failed):
    """50 lines of 80 columns, of which quickstart needs some ten for itself."""
    trials = invented_quickstart.trials(fidelity=fidelity, failed=failed)
    comparison = compare_trials(
        trials, fingerprints=invented_quickstart.fingerprints(), network=invented_quickstart.NETWORK
    )
    lines = drawn(tables.comparison_view(comparison), 80).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for row in comparison.exit_table.rows:
        figures = [words.number(cell) for cell in row.cells]
        assert re.search(rf"{row.workload} +" + r" \S +".join(map(re.escape, figures)).replace(r" \S +", " +", 1), text)
    assert words.more_exits(comparison) in text
    assert "…" not in text or failed  # nothing is cut off but failures
    assert "nohype compare --details" in text


def test_times_of_emulated_hosts_are_grey_and_have_no_mark():
    def styled(fidelity):
        comparison = compare_trials(invented_quickstart.trials(fidelity=fidelity))
        console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="standard")
        console.print(tables.comparison_view(comparison))
        shown = console.file.getvalue().splitlines()
        return next(line for line in shown if "cpu: events" in line), next(line for line in shown if "idle" in line)

    grey, exits = styled(Fidelity.EMULATED)
    assert grey.startswith("\x1b[90m")
    assert not set(tables.MARKS.values()) & set(grey)
    assert "✓" in exits
    judged, _ = styled(Fidelity.SILICON)
    assert "\x1b[90m" not in judged
    assert "✓" in judged


def drawn(view, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(view)
    return console.export_text()
