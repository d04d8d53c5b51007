"""Compare the stacks of a campaign: per workload and metric, and VM exits by reason and phase."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from harness.analysis import fairness, flags
from harness.analysis.exit_table import exit_table
from harness.analysis.exits import BOOT, EXITS, EXITS_PER_SECOND, exit_rate, exits_total, phases
from harness.analysis.halves import halves, may_halve
from harness.analysis.judging import judged
from harness.analysis.model import (
    Comparison,
    Contrast,
    ExitRate,
    FactDifference,
    Figure,
    MetricComparison,
    Verdict,
)
from harness.analysis.more_exits import more_exits
from harness.analysis.statistics import Boots, Effect, Scope, boot_means, effect, mean_of_boots
from harness.config import nearest
from harness.errors import InputError
from harness.results.model import Direction, Fidelity, Fingerprint, Status, TrialRecord

ALLOWED = "allowed by whoever asked for the comparison"
# The smallest difference that matters: NoHype's authors report a gain of roughly 1 % (CCS 2011, abstract), and nothing
# as large may be called no difference (docs/explanation/method.md).
MARGIN = 0.01

Value = Callable[[TrialRecord], float | None]
# A metric of a workload: name, unit, direction, and its value in a trial.
Metric = tuple[str, str, Direction, Value]


def compare(
    trials: Sequence[TrialRecord],
    baseline: str = "kvm",
    *,
    fingerprints: Iterable[Fingerprint] = (),
    seed: int = 0,
    allowed: Sequence[str] = (),
    network: Collection[str] = (),
) -> Comparison:
    """Set every other stack against `baseline`. Failed trials are counted and named, never used.

    Where one stack alone ran, in four boots or more, two random halves of its boots are compared; `seed` decides which.
    `fingerprints` explain the digests in the trials; without them `differences` stays empty. `allowed` names facts, or
    patterns with `*`, that may differ besides those that harness.analysis.fairness explains. `network` names the
    workloads that use the network; without them and fingerprints `more_exits` stays None.
    Raises InputError: no trials; a baseline that is not among them; trials of several fidelities, which are named.
    """
    if not trials:
        raise InputError("there are no trials to compare", fix="see what the campaign has done: nohype campaign status")
    _refuse_mixed_fidelity(trials)
    stacks = _baseline_first(trials, baseline)
    good = [trial for trial in trials if trial.status is Status.OK]
    known = {found.digest: found for found in fingerprints}
    differences = _differences(good, stacks, known, allowed)
    outliers, warm_ups = _flags(good, stacks)
    icr_open = _icr_open(trials, known)
    halved = ""
    if may_halve(trials):
        halved = baseline
        trials = halves(trials, seed)
        stacks = (f"{halved} A", f"{halved} B")
        good = [trial for trial in trials if trial.status is Status.OK]
    metrics = _metrics(good, stacks, trials[0].fidelity, seed)
    exits = _exit_rates(good, stacks)
    return Comparison(
        baseline=stacks[0],
        margin=MARGIN,
        stacks=stacks,
        fidelity=trials[0].fidelity,
        hosts=tuple(dict.fromkeys(trial.host for trial in trials)),
        boots=tuple((stack, len({trial.boot_id for trial in good if trial.stack == stack})) for stack in stacks),
        trials=len(trials),
        exit_table=exit_table(good, stacks),
        metrics=metrics,
        exits=exits,
        more_exits=more_exits(good, known, metrics, exits, network=network, margin=MARGIN),
        failed=tuple(trial for trial in trials if trial.status is not Status.OK),
        differences=differences,
        outliers=outliers,
        warm_ups=warm_ups,
        icr_open=icr_open,
        halved=halved,
    )


def exit_phases(comparison: Comparison) -> tuple[MetricComparison, ...]:
    """Exits per second of each phase, those without any exit included: its figures are of the stacks that counted."""
    return tuple(row for row in comparison.metrics if row.metric == EXITS_PER_SECOND)


def _refuse_mixed_fidelity(trials: Sequence[TrialRecord]) -> None:
    found = defaultdict(list)
    for trial in trials:
        found[trial.fidelity].append(trial.id)
    if len(found) > 1:
        named = "; ".join(
            f"{fidelity}: {', '.join(ids[:3])}{f' and {len(ids) - 3} more' if len(ids) > 3 else ''}"
            for fidelity, ids in found.items()
        )
        raise InputError(
            f"trials of different fidelity cannot be compared ({named})",
            fix="compare campaigns of one fidelity each: times of emulated hosts are not those of silicon",
        )


def _baseline_first(trials: Sequence[TrialRecord], baseline: str) -> tuple[str, ...]:
    stacks = list(dict.fromkeys(trial.stack for trial in trials))
    if baseline not in stacks:
        raise InputError(
            f"no trial of the baseline {baseline!r}{nearest(baseline, stacks)}",
            where="--baseline",
            fix=f"stacks of this campaign: {', '.join(sorted(stacks))}",
        )
    return (baseline, *sorted(stack for stack in stacks if stack != baseline))


def _metrics(
    good: Sequence[TrialRecord], stacks: Sequence[str], fidelity: Fidelity, seed: int
) -> tuple[MetricComparison, ...]:
    return tuple(
        _metric(own, stacks, workload, *row, fidelity=fidelity, seed=seed)
        for workload, own in _by_workload(good)
        for row in _metrics_of(workload, own)
    )


def _by_workload(good: Sequence[TrialRecord]) -> Iterator[tuple[str, list[TrialRecord]]]:
    for workload in phases(good):
        yield workload, [trial for trial in good if trial.workload == workload]


def _metrics_of(workload: str, own: Sequence[TrialRecord]) -> list[Metric]:
    # Exits first: they are what the testbed is about.
    rows: list[Metric] = [(EXITS_PER_SECOND, "1/s", Direction.LOWER, exit_rate)]
    if workload == BOOT:
        rows.append((EXITS, "", Direction.LOWER, lambda trial: float(exits_total(trial))))
    kinds = dict.fromkeys((value.name, value.unit, value.direction) for trial in own for value in trial.metrics)
    return rows + [(name, unit, direction, _named(name, unit)) for name, unit, direction in kinds]


def _flags(
    good: Sequence[TrialRecord], stacks: Sequence[str]
) -> tuple[tuple[flags.Outlier, ...], tuple[flags.WarmUp, ...]]:
    outliers: list[flags.Outlier] = []
    warm_ups: list[flags.WarmUp] = []
    for workload, own in _by_workload(good):
        for name, _unit, direction, value in _metrics_of(workload, own):
            for stack in stacks:
                of_stack = [trial for trial in own if trial.stack == stack]
                for host in dict.fromkeys(trial.host for trial in of_stack):
                    outliers += flags.outliers([each for each in of_stack if each.host == host], name, value)
                found = flags.warm_up(of_stack, name, direction, value)
                warm_ups += [found] if found else []
    return tuple(outliers), tuple(warm_ups)


def _named(name: str, unit: str) -> Value:
    def value(trial: TrialRecord) -> float | None:
        return next((found.value for found in trial.metrics if (found.name, found.unit) == (name, unit)), None)

    return value


def _metric(
    trials: Sequence[TrialRecord],
    stacks: Sequence[str],
    workload: str,
    name: str,
    unit: str,
    direction: Direction,
    value: Value,
    *,
    fidelity: Fidelity,
    seed: int,
) -> MetricComparison:
    by_stack = {stack: _by_host(trials, stack, value) for stack in stacks}
    figures = []
    for stack, hosts in by_stack.items():
        boots = [boot for host in hosts.values() for boot in host]
        if boots:
            figures.append(Figure(stack, mean_of_boots(boots), boot_means(boots), sum(map(len, boots))))
    baseline = by_stack[stacks[0]]
    is_judged = judged(name, fidelity)
    effects = {
        stack: effect(by_stack[stack], baseline, seed=seed) for stack in stacks[1:] if by_stack[stack] and baseline
    }
    contrasts = [
        Contrast(stack, found, _verdict(found, direction) if is_judged else None) for stack, found in effects.items()
    ]
    return MetricComparison(workload, name, unit, direction, is_judged, tuple(figures), tuple(contrasts))


def _by_host(trials: Iterable[TrialRecord], stack: str, value: Value) -> dict[str, Boots]:
    """{host: boots: values}, in the order of the trials."""
    # By boot, not by block: two blocks in one boot would not be independent.
    boots: dict[tuple[str, str], list[float]] = defaultdict(list)
    for trial in trials:
        if trial.stack == stack and (found := value(trial)) is not None:
            boots[trial.host, trial.boot_id].append(found)
    hosts: dict[str, list[list[float]]] = defaultdict(list)
    for (host, _boot), values in boots.items():
        hosts[host].append(values)
    return dict(hosts)


def _verdict(found: Effect | None, direction: Direction) -> Verdict:
    if found is None:
        return Verdict.NO_RATIO
    if found.scope is not Scope.BETWEEN_BOOTS or found.low is None or found.high is None:
        return Verdict.TOO_FEW
    if found.low <= 1 <= found.high:
        # Limits that are each other's inverse: which of the two stacks is the baseline then makes no odds.
        within = found.low >= 1 / (1 + MARGIN) and found.high <= 1 + MARGIN
        return Verdict.NO_DIFFERENCE if within else Verdict.NOT_DECIDED
    if direction is Direction.NEITHER:
        return Verdict.DIFFERENT
    higher = found.low > 1
    return Verdict.BETTER if higher == (direction is Direction.HIGHER) else Verdict.WORSE


def _exit_rates(good: Sequence[TrialRecord], stacks: Sequence[str]) -> tuple[ExitRate, ...]:
    found = []
    for phase in phases(good):
        for stack in stacks:
            own = [trial for trial in good if (trial.workload, trial.stack) == (phase, stack) and trial.seconds > 0]
            reasons = {row.reason for trial in own for row in trial.exits}
            rates = [_reason_rate(own, phase, stack, reason) for reason in sorted(reasons)]
            found += sorted(rates, key=lambda rate: -rate.per_second)
    return tuple(found)


def _reason_rate(own: Sequence[TrialRecord], phase: str, stack: str, reason: str) -> ExitRate:
    """A reason that a trial did not see counts as zero there."""
    rates: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, list[float]] = defaultdict(list)
    for trial in own:
        count = sum(row.count for row in trial.exits if row.reason == reason)
        rates[trial.boot_id].append(count / trial.seconds)
        counts[trial.boot_id].append(count)
    boots = list(rates.values())
    means = boot_means(boots)
    return ExitRate(
        phase=phase,
        stack=stack,
        reason=reason,
        per_second=mean_of_boots(boots),
        boot_low=min(means),
        boot_high=max(means),
        per_trial=mean_of_boots(list(counts.values())),
        boots=len(means),
        trials=len(own),
    )


def _icr_open(trials: Sequence[TrialRecord], known: dict[str, Fingerprint]) -> tuple[str, ...]:
    """Failed trials too: their guests were as unsafe."""
    unsafe = {digest for digest, found in known.items() if dict(found.facts).get("guest.icr") == "open"}
    return tuple(dict.fromkeys(trial.stack for trial in trials if trial.fingerprint in unsafe))


def _differences(
    good: Sequence[TrialRecord], stacks: Sequence[str], known: dict[str, Fingerprint], allowed: Sequence[str]
) -> tuple[FactDifference, ...]:
    found = []
    for host in dict.fromkeys(trial.host for trial in good):
        seen: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: {stack: {} for stack in stacks})
        prints = {(trial.stack, trial.fingerprint): None for trial in good if trial.host == host}
        pairs = [(stack, dict(known[digest].facts)) for stack, digest in prints if digest in known]
        names = sorted({name for _stack, facts in pairs for name in facts})
        for stack, facts in pairs:
            for name in names:
                seen[name][stack][facts.get(name, "(absent)")] = None
        for name in names:
            values = tuple((stack, tuple(texts)) for stack, texts in seen[name].items() if texts)
            if len({text for _stack, texts in values for text in texts}) > 1:
                reason = fairness.reason(name, dict(values))
                if not reason and any(fnmatchcase(name, pattern) for pattern in allowed):
                    reason = ALLOWED
                found.append(FactDifference(host, name, values, reason))
    return tuple(found)
