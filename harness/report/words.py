"""Figures and verdicts as words: the same in the terminal and in the report."""

from __future__ import annotations

import math
from collections import Counter

from harness.analysis.exit_table import ExitTable
from harness.analysis.exits import BOOT, EXITS, EXITS_PER_SECOND
from harness.analysis.flags import Outlier, WarmUp
from harness.analysis.model import Avic, Comparison, Contrast, FactDifference, MetricComparison, Verdict
from harness.analysis.paper import Gain
from harness.analysis.statistics import Effect, Scope
from harness.results.model import Direction, Fidelity

FIDELITY = {
    Fidelity.SILICON: "Measured on real hardware.",
    Fidelity.EMULATED: (
        "Measured on emulated hosts: real hypervisors handle the exits of an emulated CPU. Exit counts and reasons are "
        "real, times are the emulator's."
    ),
    Fidelity.EMULATED_ICOUNT: (
        "Measured on emulated hosts that count instructions instead of time: real hypervisors handle the exits of an "
        "emulated CPU. Exit counts and reasons are real; a second is a fixed number of instructions executed."
    ),
}
NOT_JUDGED = "In grey and not judged: times of emulated hosts are not those of silicon."
EXIT_METRICS = (EXITS, EXITS_PER_SECOND)
EXIT_TABLE = "VM exits per second (boot: all exits of one boot)"
_MANY_WORDS = 4  # so many in common make a value long enough to show only what is not
BETTER = {Direction.HIGHER: "higher is better", Direction.LOWER: "lower is better", Direction.NEITHER: ""}


def number(value: float) -> str:
    """Three significant digits; whole numbers from 1,000 on."""
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    rounded = abs(float(f"{value:.2e}"))
    digits = max(0, 2 - math.floor(math.log10(rounded)))
    return f"{value:.{digits}f}" if digits <= 6 else f"{value:.2e}"


def ratio(effect: Effect | None) -> str:
    return f"{number(effect.ratio)}×" if effect else "–"


def interval(effect: Effect | None) -> str:
    """`0.44 to 0.52`; says so where it covers the variation within boots alone, or where there is none."""
    if effect is None or effect.low is None or effect.high is None:
        return "–"
    text = f"{number(effect.low)} to {number(effect.high)}"
    return f"{text} ({Scope.WITHIN_BOOT})" if effect.scope is Scope.WITHIN_BOOT else text


def gain(found: Gain) -> str:
    """`+1.2 % (-0.3 to +2.8)`."""
    if found.low is None or found.high is None:
        return f"{100 * found.share:+.1f} %"
    return f"{100 * found.share:+.1f} % ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def metric_name(name: str) -> str:
    return name.replace("_", " ")


def duration(seconds: float) -> str:
    """`2 h 5 min`, `3 min 20 s`, `8.4 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def count(many: int, noun: str) -> str:
    return f"{many:,} {noun}" if many == 1 else f"{many:,} {noun}s"


def boots(table: ExitTable) -> str:
    """`means of 2 boots`: what stands behind the figures of a table of exits."""
    least, most = min(table.boots, default=0), max(table.boots, default=0)
    if most == 1:
        return "one boot" if least == 1 else "at most one boot"
    return f"means of {most} boots" if least == most else f"means of {least} to {most} boots"


def not_judged(comparison: Comparison) -> str | None:
    """Why some metrics of the comparison have no verdict; None where all have one."""
    return None if all(row.judged for row in comparison.metrics) else NOT_JUDGED


def more_exits(comparison: Comparison) -> str | None:
    """Why tuned KVM exits more than stock KVM, in two sentences; None where the data do not show it."""
    found = comparison.more_exits
    if found is None:
        return None
    parts = []
    for row in found.workloads:
        reasons = ", ".join(f"{each.reason} +{number(each.per_second)}" for each in row.reasons)
        parts.append(f"{row.workload} ({number(row.tuned)} against {number(row.stock)} per second, mostly {reasons})")
    cause = {Avic.ABSENT: "the CPU has no AVIC", Avic.OFF: "AVIC is off"}[found.avic]
    return (
        f"{found.tuned} exits more than {found.stock} in {listed(parts)}. Its guests have a virtual function and "
        f"{cause}, so KVM delivers each of the function's interrupts by VM exits."
    )


def near_one(comparison: Comparison) -> str:
    """`within 1 % of 1`: the ratios that make no difference."""
    return f"within {comparison.margin * 100:.3g} % of 1"


def margin(comparison: Comparison) -> str:
    """When the comparison speaks of no difference."""
    return (
        f"“No difference” means that the whole interval lies {near_one(comparison)}; “not decided”, that it includes 1 "
        "but is wider: these are too few boots to tell."
    )


def verdict_sentences(comparison: Comparison) -> tuple[str, ...]:
    """One sentence for each stack but the baseline: how its exits and its metrics compare."""
    others = comparison.stacks[1:]
    if comparison.halved:
        first, second = comparison.stacks
        return (
            f"{comparison.halved} alone ran, so it is compared with itself: {first} and {second} are two random halves "
            "of its boots. Of twenty such comparisons, one is expected to come out as a difference.",
            _sentence(comparison, second),
        )
    if not others:
        return (f"All trials ran {comparison.baseline}: there is no other stack to compare it with.",)
    return tuple(_sentence(comparison, stack) for stack in others)


def _sentence(comparison: Comparison, stack: str) -> str:
    pairs = [(row, found) for row in comparison.metrics if (found := row.contrast(stack))]
    if not pairs:
        return f"{stack} has no successful trial to compare with {comparison.baseline}."
    # The figures of the table of exits: of boot, whose length differs between stacks, all exits.
    exits = [
        (row.workload, found)
        for row, found in pairs
        if row.metric == (EXITS if row.workload == BOOT else EXITS_PER_SECOND)
    ]
    tally = Counter(found.verdict for row, found in pairs if found.verdict and row.metric not in EXIT_METRICS)
    clauses = list(filter(None, (_exits_clause(exits), _tally_clause(tally))))
    return f"Against {comparison.baseline}, {stack} {'; '.join(clauses) or 'has nothing that is judged'}."


def _exits_clause(exits: list[tuple[str, Contrast]]) -> str:
    made = []
    for verdict, words in ((Verdict.BETTER, "fewer"), (Verdict.WORSE, "more")):
        named = [f"{workload} ({ratio(found.effect)})" for workload, found in exits if found.verdict is verdict]
        if named:
            made.append(f"{words} VM exits in {listed(named)}")
    parts = [f"made {', and '.join(made)}"] if made else []
    same = [workload for workload, found in exits if found.verdict is Verdict.NO_DIFFERENCE]
    if same:
        parts.append(f"showed no difference in exits in {listed(same)}")
    undecided = [workload for workload, found in exits if found.verdict is Verdict.NOT_DECIDED]
    if undecided:
        parts.append(f"left exits undecided in {listed(undecided)}")
    unclear = [workload for workload, found in exits if found.verdict in (Verdict.TOO_FEW, Verdict.NO_RATIO)]
    if unclear:
        parts.append(f"cannot be judged by exits in {listed(unclear)}")
    return ", ".join(parts)


def _tally_clause(tally: Counter[Verdict]) -> str:
    total = tally.total()
    if not total:
        return ""
    words = {
        Verdict.BETTER: "better",
        Verdict.WORSE: "worse",
        Verdict.DIFFERENT: "different",
        Verdict.NO_DIFFERENCE: "without a difference",
        Verdict.NOT_DECIDED: "not decided",
        Verdict.TOO_FEW: "measured in too few boots to say",
        Verdict.NO_RATIO: "without a ratio",
    }
    found = [f"{tally[verdict]} {text}" for verdict, text in words.items() if tally[verdict]]
    return f"of its {count(total, 'other metric')}, {listed(found)}"


def unexplained(comparison: Comparison) -> str:
    """What is to be said first where facts differ that nothing explains; "" where there are none."""
    facts = list(dict.fromkeys(found.fact for found in comparison.unexplained))
    if not facts:
        return ""
    differ = "differs" if len(facts) == 1 else "differ"
    return (
        f"Not explained: {count(len(facts), 'fact')} of hosts or guests {differ} between the blocks for no reason that "
        f"is known: {listed(facts)}. Whatever is compared here may come from that."
    )


def icr_open(comparison: Comparison) -> str:
    """What is to be said of guests that endangered their hosts; "" where there were none."""
    if not comparison.icr_open:
        return ""
    return (
        f"Unsafe: guests of {listed(list(comparison.icr_open))} had an open ICR (icr: open). Such a guest can "
        "interrupt and reset its host and its neighbours: do not give one to people whom you do not trust."
    )


def fact_values(difference: FactDifference) -> tuple[tuple[str, str], ...]:
    """Each stack's values; of long ones, the words that are not in all of them."""
    texts = [text for _stack, found in difference.values for text in found]
    shared = set.intersection(*(set(text.split()) for text in texts))

    def short(text: str) -> str:
        if len(shared) < _MANY_WORDS:
            return text or "(empty)"
        return " ".join(["…", *(word for word in text.split() if word not in shared)])

    return tuple((stack, " | ".join(map(short, found))) for stack, found in difference.values)


def warm_up(found: WarmUp) -> str:
    than = "lower" if found.ratio < 1 else "higher"
    return (
        f"{found.stack}, {found.workload}, {metric_name(found.metric)}: the first trial of a boot was {than} than its "
        f"later ones in {found.worse} of {count(found.boots, 'boot')}, {number(found.ratio)}× at the median"
    )


def outlier(found: Outlier) -> str:
    return (
        f"{found.trial} ({found.stack}, {found.workload} on {found.host}): {metric_name(found.metric)} "
        f"{number(found.value)}, where the median is {number(found.median)}"
    )


def listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def behind(row: MetricComparison, *stacks: str) -> str:
    """`3 + 3 boots, 9 + 8 trials`: what stands behind a figure, in the order of `stacks`."""
    figures = [figure for stack in stacks if (figure := row.figure(stack))]
    boots, trials = (" + ".join(map(str, found)) for found in zip(*((f.boots, f.trials) for f in figures), strict=True))
    return f"{boots} boots, {trials} trials"
