"""The model card: what a reviewer reads in the registry before deciding.

MLflow keeps a version's description in 5,000 characters. The card says what decides and shortens its lists until it
fits; ``report.html`` of the run has everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from selfheal.comparison import MARGINS, changes, contents, in_words
from selfheal.report import Data, Interval, Matrix, Report, SetRow, WorkloadRow

__all__ = ["LIMITS", "MOST", "Context", "limits", "model_card", "worst_first"]

MOST = 5000
"""Characters that MLflow's database keeps of a description."""

LIMITS = (
    "Trained on normal history only. A workload that was already sick then looks normal to it.",
    "A window with other metrics than these is refused; train again after a change of the catalogue.",
    "Faults in the evaluation are injected, not lived: they tell models apart, and promise nothing about one incident.",
    "Metrics of namespaces, nodes and the cluster are not in it: it never drives an action by them.",
)

_TOLD = ("selfheal.catalogue", "selfheal.data_digest")  # in their own sections
_LENGTHS = (12, 8, 5, 3, 1, 0)  # of lists, the longest that fits


@dataclass(frozen=True)
class Context:
    """What stands beside a report on its card and its page.

    Attributes:
        champion: Report of the model in service; None when there is none.
        champion_version: Its version.
        same_data: Whether the champion's report is of the same held-back data and the same faults.
        accepted: What the comparison decided; None before it has.
        verdict: Its sentence.
        origin: Git sha, pipeline run, package versions and the like.
        page: Where report.html is, for a link; empty where nobody knows.
    """

    champion: Report | None = None
    champion_version: str = ""
    same_data: bool = False
    accepted: bool | None = None
    verdict: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)
    page: str = ""

    @property
    def beside(self) -> str:
        """What the champion's figures rest on, in a sentence."""
        if self.champion is None:
            return "No champion's figures are known for this data."
        if self.same_data:
            return "Both were judged on the same data with the same faults."
        return "The champion's figures are of its own held-back data; the compare step judges both on the same."


def model_card(report: Report, context: Context) -> str:
    """Markdown that says what the model was measured to do, what changed, and what it cannot do.

    Args:
        report: Of the new model.
        context: What stands beside it.

    Returns:
        At most MOST characters.
    """
    for shown in _LENGTHS:
        found = "\n".join(_lines(report, context, shown))
        if len(found) <= MOST:
            return found
    return found[: MOST - 12] + "\n\n(cut off)"


def _lines(report: Report, context: Context, shown: int) -> Iterator[str]:
    yield from ("## Verdict", context.verdict or "The compare step has not judged this version yet.")
    if context.page:
        yield f"\n[All tables and plots]({context.page}) (`report.html` of the run)"
    yield from ("\n## Measured against the champion", *_compared(report, context))
    yield from ("\n## False alarms on held-back normal data", *_rates(report))
    yield from ("\n## Sets", *_sets(report.sets[: max(shown, 4)]), *_more(report.sets, max(shown, 4)))
    rows = worst_first(report.workloads)
    yield from ("\n## Workloads, worst first", *_workloads(rows[:shown]), *_more(rows, shown))
    yield from ("\n## Correlation of votes (phi): normal data / data with faults", *_matrix(report))
    notes = [*report.notes, *limits(report)]
    yield from ("\n## Limits", *(f"- {one}" for one in [*_short(notes, max(shown, 2)), *LIMITS]))
    yield from ("\n## Data", *_data("Trained on", report.training), *_data("Judged on", report.held_back))
    yield f"- {len(report.metrics)} metrics, one sample every {report.step:g} s: {', '.join(report.metrics)}"
    yield f"- Catalogue: `{report.catalogue}`; seed {'-' if report.seed is None else report.seed}"
    yield "\n## Where it comes from"
    yield from (f"- {name}: `{value}`" for name, value in sorted(context.origin.items()) if name not in _TOLD)


def _compared(report: Report, context: Context) -> Iterator[str]:
    found = changes(report, context.champion)
    number = f" {context.champion_version}" if context.champion_version else ""
    if context.champion is not None:
        yield in_words(found)
    yield f"{context.beside}\n"
    yield from (f"| | this model | champion{number} | difference |", "|---|---:|---:|---:|")
    yield from (f"| {' | '.join([one.label, *one.cells()])} |" for one in found)
    if different := contents(report, context.champion):
        yield f"\nAlso: {'; '.join(different)}."
    yield f"\n{MARGINS.in_words()}"


def _rates(report: Report) -> Iterator[str]:
    yield from ("| | nominal | realised (95 %) | under a vote |", "|---|---:|---:|---:|")
    for name, rate in [*report.rates.items(), ("two of four", report.vote)]:
        cells = (_percent(rate.nominal), f"{_percent(rate.realised)} {_interval(rate.interval)}", _percent(rate.voted))
        yield f"| {name} | {' | '.join(cells)} |"


def _sets(rows: Sequence[SetRow]) -> Iterator[str]:
    yield from ("| | false a day | realised | found | delay, s | avg. precision | gain |", "|---|" + "---:|" * 6)
    for row in rows:
        cells = [_number(row.false_episodes_per_day), _percent(row.realised), _percent(row.recall)]
        cells += [_number(row.delay), _number(row.area), _number(row.gain)]
        yield f"| {row.name} | {' | '.join(cells)} |"


def worst_first(rows: Iterable[WorkloadRow]) -> list[WorkloadRow]:
    """Those that could not be judged, then by false episodes, then by faults missed."""

    def badness(row: WorkloadRow) -> tuple[bool, float, float, str]:
        false, recall = row.false_episodes_per_day, row.recall
        return row.alarmed is not None, -(false or 0.0), 1.0 if recall is None else recall, row.workload

    return sorted(rows, key=badness)


def _workloads(rows: Sequence[WorkloadRow]) -> Iterator[str]:
    if rows:
        yield from ("| | models | false a day | found | abstains |", "|---|---|---:|---:|---|")
    for row in rows:
        found = f"{row.found} of {row.events}" if row.events else "-"
        silent = ", ".join(row.abstained) or "-"
        own = "own" if row.basis == "workload" else "pooled"
        yield f"| {row.workload} | {own} | {_number(row.false_episodes_per_day)} | {found} | {silent} |"


def _more(rows: Sequence[object], shown: int) -> Iterator[str]:
    if len(rows) > shown:
        yield f"\n{len(rows) - shown} more in report.html."


def _matrix(report: Report) -> Iterator[str]:
    names = list(report.correlation)
    if not names:
        yield "No detector could vote."
        return
    yield from (f"| | {' | '.join(names)} |", "|---|" + "---:|" * len(names))
    for one in names:
        cells = [
            f"{_cell(report.correlation_normal, one, two)} / {_cell(report.correlation, one, two)}" for two in names
        ]
        yield f"| {one} | {' | '.join(cells)} |"


def _cell(matrix: Matrix, one: str, other: str) -> str:
    return _number(matrix.get(one, {}).get(other))


def limits(report: Report) -> list[str]:
    """Which workloads have no models of their own and which detectors abstain, each with the reason."""
    pooled: dict[str, list[str]] = {}
    silent: dict[str, list[str]] = {}
    for row in report.workloads:
        if row.basis == "pooled":
            pooled.setdefault("; ".join(_grouped(row.without)), []).append(row.workload)
        for detector, why in row.abstained.items():
            silent.setdefault(f"{detector} abstains ({why})", []).append(row.workload)
    told = [f"no models of its own ({why}), the pooled ones answer: {_few(names)}" for why, names in pooled.items()]
    return told + [f"{what}: {_few(names)}" for what, names in silent.items()]


def _grouped(reasons: Mapping[str, str]) -> list[str]:
    """Detectors that give the same reason, together."""
    found: dict[str, list[str]] = {}
    for detector, why in reasons.items():
        found.setdefault(why, []).append(detector)
    return [f"{', '.join(names)}: {why}" for why, names in found.items()]


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _short(notes: Sequence[str], shown: int) -> list[str]:
    more = [f"{len(notes) - shown} more in report.html"] if len(notes) > shown else []
    return [note if len(note) <= 300 else note[:297] + "..." for note in notes[:shown]] + more


def _data(label: str, data: Data | None) -> list[str]:
    if data is None:
        return [f"- {label}: not recorded"]
    span = f"{data.start:%Y-%m-%d %H:%M} to {data.end:%Y-%m-%d %H:%M} UTC"
    return [f"- {label}: {span}, {data.workloads} workloads, {data.rows} rows, `{data.digest}`"]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"


def _interval(value: Interval | None) -> str:
    return "" if value is None else f"({100 * value[0]:.2g}-{100 * value[1]:.2g})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"
