"""The report: one well-formed file that holds every figure with its label, loads nothing, and trusts no name."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from invented_quickstart import FACTS, NETWORK, fingerprints
from invented_quickstart import trials as quickstart_trials

from harness.analysis.compare import compare
from harness.analysis.model import Verdict
from harness.analysis.paper import beside_the_paper
from harness.report import words
from harness.report.html import ratio_bar, ratio_reach, render, write_report
from harness.report.model import PrometheusAgreement
from harness.results.model import Fidelity, Note, NoteKind, Status

VOID = {"meta", "br", "link", "img", "hr", "input"}
HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"


class Page(HTMLParser):
    """Checks that tags nest, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open[-1:] == [tag], f"</{tag}> closes nothing"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data

    def of(self, tag):
        return [attributes for found, attributes in self.tags if found == tag]


@pytest.fixture
def source(invented):
    return invented()


@pytest.fixture
def html(source, tmp_path):
    return render(source, tmp_path)


@pytest.mark.parametrize("fidelity", [Fidelity.EMULATED, Fidelity.SILICON])
def test_holds_every_metric_and_every_label(invented, tmp_path, fidelity):
    source = invented(fidelity=fidelity)
    page = Page(render(source, tmp_path))
    for row in source.comparison.metrics:
        assert words.metric_name(row.metric) in page.text
        assert row.unit in page.text
        for figure in row.figures:
            assert words.number(figure.mean) in page.text
        for contrast in row.contrasts:
            assert words.ratio(contrast.effect) in page.text
            assert words.interval(contrast.effect) in page.text
            assert (contrast.verdict or "not judged") in page.text
        assert re.sub(", ", "", words.behind(row, "kvm", "kvm-tuned")) in page.text
    for rate in source.comparison.exits:
        assert rate.reason in page.text
        assert words.number(rate.per_second) in page.text
    for sentence in words.verdict_sentences(source.comparison):
        assert sentence in page.text
    for fact in ("quickstart-fixture", "42", source.campaign.revision, "6.12.48+deb13-amd64", "hosts: rack*"):
        assert fact in page.text


def test_every_figure_says_its_fidelity(html, source):
    figures = re.findall(r"<figure\b.*?</figure>", html, re.S)
    phases = {rate.phase for rate in source.comparison.exits}
    assert len(figures) == len(phases) + 3 + 3  # charts, first table, comparison, reasons, three beside the paper
    assert all('<span class="badge fidelity">emulated</span>' in figure for figure in figures)
    assert words.FIDELITY[Fidelity.EMULATED] in Page(html).text.split("campaign report")[0]


@pytest.mark.parametrize("fidelity", list(Fidelity))
def test_the_banner_explains_each_fidelity(invented, tmp_path, fidelity):
    assert words.FIDELITY[fidelity] in Page(render(invented(boots=1, fidelity=fidelity), tmp_path)).text


def test_loads_nothing_and_runs_nothing(html):
    page = Page(html)
    assert not page.of("script")
    assert not page.of("link")
    assert not page.of("img")
    assert not page.of("iframe")
    assert not any(
        name in ("src", "xlink:href") or name.startswith("on") for _tag, found in page.tags for name in found
    )
    assert "@import" not in html
    assert not [found for found in re.findall(r"url\(([^)]*)\)", html) if not found.startswith("#")]
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names of XML dialects
    policy = next(found for found in page.of("meta") if found.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy["content"]


def test_charts_are_well_formed_and_told_in_words(html):
    charts = re.findall(r'<div role="img" aria-label="([^"]*)">(<svg.*?</svg>)</div>', html, re.S)
    assert len(charts) == 5
    for label, svg in charts:
        assert "per second" in label
        ElementTree.fromstring(svg)
    assert all(found.get("aria-label") or found.get("aria-hidden") for found in Page(html).of("svg"))


def test_ids_are_unique(html):
    ids = [found["id"] for _tag, found in Page(html).tags if "id" in found]
    assert len(ids) == len(set(ids))


def test_header_cells_say_what_they_head(html):
    assert all(found.get("scope") in ("col", "row", "rowgroup") for found in Page(html).of("th"))


def test_failed_trials_are_named_with_their_reason_and_artifacts(html, source):
    page = Page(html)
    assert "2 trials of 60 failed" in page.text
    for trial in source.comparison.failed:
        assert trial.id in page.text
        assert trial.failure in page.text
    links = {found["href"] for found in page.of("a")}
    assert "artifacts/quickstart-fixture/trials/030/" in links
    assert not any("055" in link for link in links)  # that folder does not exist


def test_hostile_text_stays_text(invented, tmp_path):
    source = invented(boots=2)
    trials = tuple(
        replace(
            trial,
            host=f"host{HOSTILE}",
            workload=f"load{HOSTILE}" if trial.workload == "cpu" else trial.workload,
            failure=f"failure{HOSTILE}" if trial.status is Status.FAILED else "",
            exits=tuple(replace(row, reason=f"reason{HOSTILE}") if row.reason == "msr" else row for row in trial.exits),
            metrics=tuple(replace(row, name=f"metric{HOSTILE}", unit=f"u{HOSTILE}") for row in trial.metrics),
        )
        for trial in source.trials
    )
    prints = tuple(
        replace(found, host=f"host{HOSTILE}", facts=((f"fact{HOSTILE}", f"value{HOSTILE}{n}"),))
        for n, found in enumerate(source.fingerprints)
    )
    campaign = replace(source.campaign, name=f"name{HOSTILE}", spec_text=f"text{HOSTILE}</pre>")
    source = replace(
        source,
        campaign=campaign,
        trials=trials,
        fingerprints=prints,
        comparison=compare(trials, fingerprints=prints),
        prometheus=PrometheusAgreement(1, (f"line{HOSTILE}",)),
    )
    page = Page(render(source, tmp_path))
    assert not page.of("script")
    for start in ("name", "host", "load", "failure", "reason", "metric", "fact", "value", "text", "line"):
        assert f"{start}{HOSTILE}".replace("_", " ") in page.text, start


def test_a_single_boot_is_labelled(invented, tmp_path):
    text = Page(render(invented(boots=1), tmp_path)).text
    assert "too few boots" in text
    assert "(within boot)" in text


def test_what_is_not_decided_is_not_called_equal(invented, tmp_path):
    """The invented stacks take 17.2 s to boot, both of them, give or take: three boots do not tell."""
    source = invented(fidelity=Fidelity.SILICON)
    row = next(row for row in source.comparison.metrics if row.metric == "seconds_to_ssh")
    assert row.contrasts[0].verdict is Verdict.NOT_DECIDED
    text = Page(render(source, tmp_path)).text
    assert "not decided" in text
    assert "no difference" not in text.split("Method")[0].replace("1×, no difference", "")


def test_the_margin_is_stated(source, tmp_path):
    text = Page(render(replace(source, comparison=replace(source.comparison, margin=0.02)), tmp_path)).text
    assert "within 2 % of 1" in text


def test_verdict_sentences_tell_undecided_from_equal(source):
    def judged(verdict):
        metrics = tuple(
            replace(row, contrasts=tuple(replace(found, verdict=verdict) for found in row.contrasts))
            for row in source.comparison.metrics
        )
        (sentence,) = words.verdict_sentences(replace(source.comparison, metrics=metrics))
        return sentence

    phases = "boot, idle, cpu, memory and network"
    undecided = judged(Verdict.NOT_DECIDED)
    assert f"left exits undecided in {phases}" in undecided
    assert "8 not decided" in undecided
    equal = judged(Verdict.NO_DIFFERENCE)
    assert f"showed no difference in exits in {phases}" in equal
    assert "8 without a difference" in equal


def test_one_stack_alone_and_no_exits(invented, tmp_path):
    source = invented()
    trials = tuple(replace(trial, exits=()) for trial in source.trials if trial.stack == "kvm")
    text = Page(render(replace(source, trials=trials, comparison=compare(trials)), tmp_path)).text
    assert "there is no other stack" in text
    assert "counted an exit" in text


def without_exits(source, phases):
    """The fixture with a third stack whose guests exit in boot alone."""
    third = tuple(
        replace(trial, stack="nohype", id=f"n{trial.id}", exits=() if trial.workload in phases else trial.exits)
        for trial in source.trials
        if trial.stack == "kvm-tuned" and trial.status is Status.OK
    )
    trials = (*source.trials, *third)
    return replace(source, trials=trials, comparison=compare(trials))


def test_a_stack_without_exits_is_shown_with_zero(invented, tmp_path):
    source = without_exits(invented(), {"idle", "cpu", "memory", "network"})
    html = render(source, tmp_path)
    charts = dict(re.findall(r'aria-label="VM exits per second in (\w+)\. ([^"]*)"', html))
    assert set(charts) == {"boot", "idle", "cpu", "memory", "network"}
    assert all(label.endswith("nohype: none.") == (phase != "boot") for phase, label in charts.items())
    idle = re.search(r"per second in idle\..*?(<svg.*?</svg>)", html, re.S)
    drawn = [text.text for text in ElementTree.fromstring(idle[1]).iter("{http://www.w3.org/2000/svg}text")]
    assert "nohype" in drawn
    assert "0" in drawn
    row = re.search(r">idle\s.*?</i>hlt</th>(.*?)</tr>", html[html.index('<table class="exits">') :], re.S)
    assert row[1].rstrip().endswith('<td class="n">0</td>')
    assert "idle (0×)" in Page(html).text


def test_a_phase_in_which_nothing_exits_has_its_row_and_its_chart(invented, tmp_path):
    source = invented()
    trials = tuple(replace(trial, exits=()) if trial.workload == "idle" else trial for trial in source.trials)
    html = render(replace(source, trials=trials, comparison=compare(trials)), tmp_path)
    assert "VM exits per second in idle. kvm: none. kvm-tuned: none." in html
    assert re.search(r"</i>no exits</th>\s*<td class=\"n\">0</td>\s*<td class=\"n\">0</td>", html)


def test_it_opens_with_the_exits_of_each_workload_and_stack(source, tmp_path):
    page = Page(render(source, tmp_path))
    opening = page.text.split("Boots")[0]
    assert opening.index("VM exits per second (boot: all exits of one boot), means of 3 boots") < opening.index(
        "Against"
    )
    for row in source.comparison.exit_table.rows:
        assert re.search(rf"{row.workload}\s+" + r"[\sa-z]+".join(words.number(cell) for cell in row.cells), opening)


def test_times_of_emulated_hosts_are_grey_and_without_verdict(source, tmp_path):
    html = render(source, tmp_path)
    rows = re.findall(r'<tr class="grey">(.*?)</tr>', html, re.S)
    unjudged = [row for row in source.comparison.metrics if not row.judged]
    assert len(rows) == len(unjudged) > 0
    for verdict in Verdict:
        assert not [row for row in rows if f">{verdict}<" in row or f'ratio {verdict.name.lower()}"' in row]
    assert all("not judged" in row for row in rows)
    assert words.NOT_JUDGED in Page(html).text


def test_everything_is_judged_on_silicon(invented, tmp_path):
    html = render(invented(fidelity=Fidelity.SILICON), tmp_path)
    assert 'class="grey"' not in html
    assert words.NOT_JUDGED not in Page(html).text
    assert "not judged" not in Page(html).text


def test_it_says_why_tuned_kvm_exits_more_where_the_data_show_it(source, tmp_path):
    def opening(**facts):
        prints = fingerprints(**facts)
        comparison = compare(quickstart_trials(), fingerprints=prints, network=NETWORK)
        return Page(render(replace(source, comparison=comparison), tmp_path)).text.split("Boots")[0]

    text = opening()
    assert "kvm-tuned exits more than kvm in network-throughput (2,9" in text
    assert "the CPU has no AVIC" in text
    assert "AVIC is off" in opening(cpu__flags=f"{FACTS['cpu.flags']} avic")
    assert "exits more than" not in opening(cpu__flags=f"{FACTS['cpu.flags']} avic", kvm_amd__avic="Y")


def test_three_stacks_have_a_table_each(invented, tmp_path):
    source = invented()
    third = tuple(replace(trial, stack="xen", id=f"x{trial.id}") for trial in source.trials if trial.stack == "kvm")
    trials = (*source.trials, *third)
    html = render(replace(source, trials=trials, comparison=compare(trials)), tmp_path)
    assert len(re.findall(r'<table class="cards">', html)) == 2
    assert "Against kvm, xen " in Page(html).text


def test_a_stack_that_only_failed(invented, tmp_path):
    source = invented()
    trials = tuple(
        replace(trial, status=Status.FAILED, failure="no boot") if trial.stack == "kvm-tuned" else trial
        for trial in source.trials
    )
    text = Page(render(replace(source, trials=trials, comparison=compare(trials)), tmp_path)).text
    assert "kvm-tuned has no successful trial" in text


@pytest.mark.parametrize(
    ("agreement", "says"),
    [
        (None, "Prometheus was not asked"),
        (PrometheusAgreement(3, ()), "For 3 guests that ended"),
        (PrometheusAgreement(3, ("g1 hlt: 5 in the store, 4 in Prometheus",)), "g1 hlt: 5 in the store"),
    ],
)
def test_prometheus_agreement_is_told(invented, tmp_path, agreement, says):
    assert says in Page(render(invented(boots=1, prometheus=agreement), tmp_path)).text


def test_events_are_told_but_not_twice(invented, tmp_path):
    at = datetime(2026, 1, 2, 3, 9, 9, tzinfo=UTC)
    notes = (
        Note("c", NoteKind.POWER_CYCLED, "rack1", "stopped answering <b>", at),
        Note("c", NoteKind.PROMETHEUS, "rack1/g1", "told elsewhere", at),
    )
    text = Page(render(invented(boots=1, notes=notes), tmp_path)).text
    assert "power cycled" in text
    assert "stopped answering <b>" in text
    assert "told elsewhere" not in text


def test_known_differences_stand_with_their_reason(html):
    text = Page(html).text
    assert "each stack has a boot entry of its own" in text
    assert "Not explained" not in text


def beside_paper(html: str) -> str:
    return Page(html).text.split("Beside the paper")[1].split("Failed trials")[0]


def test_the_paper_has_a_section_that_says_what_is_missing(html):
    section = beside_paper(html)
    assert "about 600 exits per second" in section
    assert "This campaign lacks, for a comparison with the paper: stack xen" in section
    assert "roughly 1 % faster" in section


def test_gains_over_xen_stand_beside_the_papers(source, tmp_path):
    trials = tuple(replace(trial, stack="xen") if trial.stack == "kvm" else trial for trial in source.trials)
    against = compare(trials, "xen")
    section = beside_paper(render(replace(source, comparison=against, trials=trials, against_xen=against), tmp_path))
    rows = {row.metric: row.gains for row in beside_the_paper(against, against).gains}
    (gain,) = rows["copy_rate"]
    assert words.gain(gain) in section
    assert words.gain(gain).startswith("+")
    assert "say nothing about the paper's" in section
    assert "has nothing beside it" not in section


def test_odd_values_are_told(invented, tmp_path):
    source = invented(boots=6, repeats=3)
    first, *others = source.trials
    odd = replace(first, metrics=tuple(replace(each, value=100 * each.value) for each in first.metrics))
    comparison = compare([odd, *others])
    assert odd.id in {found.trial for found in comparison.outliers}
    text = Page(render(replace(source, comparison=comparison), tmp_path)).text
    for found in (*map(words.outlier, comparison.outliers), *map(words.warm_up, comparison.warm_ups)):
        assert found in text


def test_a_stack_against_itself_says_so(invented, tmp_path):
    source = invented(boots=6)
    alone = tuple(trial for trial in source.trials if trial.stack == "kvm")
    text = Page(render(replace(source, comparison=compare(alone), trials=alone), tmp_path)).text
    assert "kvm alone ran, so it is compared with itself" in text
    assert "kvm B over kvm A" in text


def test_written_at_once_and_whole(source, tmp_path, monkeypatch):
    path = tmp_path / "deep" / "report.html"
    assert write_report(path, source) == path
    first = path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o644

    def broken(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_report(path, source)
    assert path.read_text(encoding="utf-8") == first
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]


def test_ratio_bars_lie_on_one_logarithmic_axis(source):
    reach = ratio_reach(source.comparison)
    pairs = [(c, ratio_bar(c, reach)) for row in source.comparison.metrics for c in row.contrasts]
    for contrast, bar in pairs:
        assert (bar.ratio > bar.middle) == (contrast.effect.ratio > 1)
        assert 0 <= bar.low <= bar.ratio <= bar.high <= 2 * bar.middle
    ordered = sorted(pairs, key=lambda pair: pair[0].effect.ratio)
    assert [bar.ratio for _contrast, bar in ordered] == sorted(bar.ratio for _contrast, bar in ordered)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.04, "0.0400"),
        (0.5, "0.500"),
        (9.996, "10.0"),
        (10, "10.0"),
        (100, "100"),
        (999.4, "999"),
        (999.6, "1,000"),
        (29491.4, "29,491"),
        (1e-9, "1.00e-09"),
        (-2.5, "-2.50"),
    ],
)
def test_numbers(value, text):
    assert words.number(value) == text
