"""A night in words: Markdown and HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import jinja2

from harness.nightly.model import Change, Digest, State, Suspect
from harness.report import words
from harness.results.model import NightStatus

COLOURS = {NightStatus.OK: "#2f8f5b", NightStatus.REGRESSED: "#c77700"}
_BAD = "#b3261e"
_MOST = 20  # lines of one kind; the command at the end shows all
_SUSPECTS = 8
_LONGEST = 120  # characters of a fact

Quote = Callable[[str], str]


@dataclass(frozen=True)
class Message:
    """A digest, ready to be sent."""

    subject: str
    markdown: str
    html: str


@dataclass(frozen=True)
class _Row:
    title: str
    figures: str
    since: str
    verdict: str
    new: bool
    acknowledge: str
    suspects: tuple[str, ...]


def render(digest: Digest) -> Message:
    """The digest as a message. Facts of hosts and output of programs are text in it, never markup."""
    night = digest.night
    regressions = [change for change in digest.changes if change.regression]
    # What is better or has recovered is told once; what is acknowledged is told no more.
    others = [
        change
        for change in digest.changes
        if not change.regression and change.state is not State.ACKNOWLEDGED and change.new
    ]
    subject = f"{night.nightly} {night.night}: {_headline(digest, regressions)}"
    content = {
        "subject": subject,
        "summary": _summary(digest),
        "colour": COLOURS.get(night.status, _BAD),
        "troubles": _troubles(digest),
        "commands": _commands(digest),
    }
    page, text = (_environment().get_template(f"digest.{ending}.j2") for ending in ("html", "md"))
    return Message(
        subject,
        text.render({**content, "regressions": _rows(regressions, _code), "others": _rows(others, _code)}),
        page.render({**content, "regressions": _rows(regressions, str), "others": _rows(others, str)}),
    )


def sentence(change: Change) -> str:
    """`rack1, nohype: cpu events per second`."""
    one = change.series
    return f"{one.host}, {one.stack}: {one.workload} {words.metric_name(one.metric)}"


def figures(change: Change) -> str:
    """`120 → 140 1/s (1.17×)`."""
    unit = f" {change.series.unit}" if change.series.unit else ""
    ratio = f" ({words.number(change.ratio)}×)" if change.ratio is not None else ""
    return f"{words.number(change.before)} → {words.number(change.after)}{unit}{ratio}"


def suspect_words(suspect: Suspect, quote: Quote = str) -> str:
    """`kernel.release: 6.12.1 became 6.12.2 (a night before)`."""
    when = {0: "", 1: " (a night after)", -1: " (a night before)"}.get(
        suspect.nights, f" ({abs(suspect.nights)} nights {'after' if suspect.nights > 0 else 'before'})"
    )
    return f"{suspect.fact}: {quote(_short(suspect.before))} became {quote(_short(suspect.after))}{when}"


def _headline(digest: Digest, regressions: list[Change]) -> str:
    night = digest.night
    if regressions:
        count = words.count(len(regressions), "metric")
        worse = f"{count} worse than before" + (" (new)" if any(change.new for change in regressions) else "")
        return f"{night.status}, {worse}" if night.status is not NightStatus.REGRESSED else worse
    return str(night.status)


def _summary(digest: Digest) -> str:
    night = digest.night
    parts = [f"The night was {night.status}"]
    if night.reason:
        parts[0] += f": {night.reason}"
    if night.campaign_id:
        parts.append(f"Campaign {night.campaign_id}, {words.count(digest.trials, 'trial')}")
    if night.started_at and night.ended_at:
        parts.append(f"It took {words.duration((night.ended_at - night.started_at).total_seconds())}")
    return ". ".join(parts) + "."


def _troubles(digest: Digest) -> list[str]:
    found = [f"missed: the night of {night}" for night in digest.missed]
    found += [f"{note.kind}: {note.subject}: {note.text}" for note in digest.notes]
    found += [f"failed: {one.host}, {one.stack}: {one.workload}: {one.failure}" for one in digest.failed]
    lines = [_line(text) for text in found[:_MOST]]
    if len(found) > _MOST:
        lines.append(f"and {len(found) - _MOST} more")
    return lines


def _commands(digest: Digest) -> list[str]:
    night = digest.night
    found = [f"nohype nightly trend {night.nightly}", f"nohype nightly list {night.nightly}"]
    if night.campaign_id:
        found.append(f"nohype report {night.campaign_id}")
    return found


def _rows(changes: Iterable[Change], quote: Quote) -> list[_Row]:
    return [
        _Row(
            title=sentence(change),
            figures=figures(change),
            since=f"{change.at:%Y-%m-%d}",
            verdict=change.state if change.state is State.RECOVERED else change.kind,
            new=change.new,
            acknowledge=f'nohype nightly ack {change.id} --note "why"',
            suspects=tuple(suspect_words(one, quote) for one in change.suspects[:_SUSPECTS])
            or ("nothing else is known to have changed then",),
        )
        for change in list(changes)[:_MOST]
    ]


def _short(text: str) -> str:
    line = _line(text)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _line(text: str) -> str:
    return " ".join(text.split())


def _code(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return f"`{text.replace('`', chr(39))}`"


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
