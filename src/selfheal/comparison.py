"""Champion against challenger: what changed, and whether it may be promoted. Pure, from two reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selfheal.report import Report

__all__ = ["MARGINS", "Change", "Margins", "better", "changes", "contents", "in_words"]


@dataclass(frozen=True)
class Margins:
    """When a challenger is refused.

    Attributes:
        false_rise: False episodes a day and workload that it may add.
        recall_fall: Share of injected faults that it may lose.
        most_false: False episodes a day and workload that nobody may exceed, champion or not.
        least_recall: Share of injected faults that everybody must find.
        most_ece: Calibration error that nobody may exceed.
    """

    false_rise: float = 0.25
    recall_fall: float = 0.05
    most_false: float = 6.0
    least_recall: float = 0.4
    most_ece: float = 0.25

    def in_words(self) -> str:
        """For a card."""
        return (
            f"Refused when it adds over {self.false_rise:g} false episodes a day and workload, or loses over "
            f"{self.recall_fall:.0%} of the faults; and with or without a champion beyond {self.most_false:g} a day, "
            f"below {self.least_recall:.0%} of the faults, or beyond a calibration error of {self.most_ece:g}."
        )


MARGINS = Margins()


def better(challenger: Report, champion: Report | None, margins: Margins = MARGINS) -> tuple[bool, str]:
    """Whether a challenger may replace the champion.

    Both should have been made on the same held-back data; false episodes count before recall, because a healer that
    acts on healthy workloads does harm.

    Args:
        challenger: The new model's report.
        champion: The report of the model in service, None when there is none (or none that fits this data).
        margins: How much worse is too much.

    Returns:
        The decision, and a sentence that says why.
    """
    if challenger.false_episodes_per_day is None or challenger.recall is None:
        return False, "Refused: the challenger could not be judged on this data, collect a longer history."
    false, recall = challenger.false_episodes_per_day, challenger.recall
    found = f"{false:.2f} false episodes a day and workload, {recall:.0%} of the injected faults found"
    if broken := _out_of_bounds(false, recall, challenger.ece, margins):
        return False, f"Refused: {broken} ({found})."
    if champion is None or champion.false_episodes_per_day is None or champion.recall is None:
        return True, f"Accepted: no champion to compare with, and within the absolute bounds ({found})."
    before = f"the champion has {champion.false_episodes_per_day:.2f} and {champion.recall:.0%}"
    if false - champion.false_episodes_per_day > margins.false_rise:
        return False, f"Refused: false episodes rise by more than {margins.false_rise:g} a day ({found}; {before})."
    if champion.recall - recall > margins.recall_fall:
        return False, f"Refused: recall falls by more than {margins.recall_fall:.0%} ({found}; {before})."
    return True, f"Accepted: not worse than the champion within the margins ({found}; {before})."


def _out_of_bounds(false: float, recall: float, ece: float | None, margins: Margins) -> str:
    if false > margins.most_false:
        return f"more than {margins.most_false:g} false episodes a day and workload"
    if recall < margins.least_recall:
        return f"less than {margins.least_recall:.0%} of the injected faults found"
    if ece is not None and ece > margins.most_ece:
        return f"its confidence is off by {ece:.2f}, more than {margins.most_ece:g}"
    return ""


@dataclass(frozen=True)
class Change:
    """One figure of two models.

    Attributes:
        label: For people.
        mine: Of the new model; None where it cannot tell.
        theirs: Of the champion; None where there is none, or where it cannot tell.
        form: How it is written.
        rising: Whether more is better.
    """

    label: str
    mine: float | None
    theirs: float | None
    form: Callable[[float], str]
    rising: bool

    @property
    def difference(self) -> float | None:
        """Mine without theirs."""
        return None if self.mine is None or self.theirs is None else self.mine - self.theirs

    @property
    def same(self) -> bool:
        """Whether both are written alike."""
        return self.mine is not None and self.theirs is not None and self.form(self.mine) == self.form(self.theirs)

    @property
    def better(self) -> bool | None:
        """Whether the new model's is better; None where it is the same, or where nobody can tell."""
        difference = self.difference
        return None if difference is None or self.same else (difference > 0) is self.rising

    def cells(self) -> tuple[str, str, str]:
        """Mine, theirs and the difference, as text; a dash for what is not known."""
        difference = self.difference
        sign = "" if difference is None else "+" if difference > 0 and not self.same else ""
        written = "-" if difference is None else "0" if self.same else sign + self.form(difference)
        return _written(self.mine, self.form), _written(self.theirs, self.form), written


def _written(value: float | None, form: Callable[[float], str]) -> str:
    return "-" if value is None else form(value)


def _plain(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f}"


def _percent(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}%}"


def changes(report: Report, champion: Report | None) -> tuple[Change, ...]:
    """Every figure that is compared, the weightiest first.

    Args:
        report: Of the new model.
        champion: Of the one in service.
    """
    plan: Sequence[tuple[str, Callable[[Report], float | None], Callable[[float], str], bool]] = (
        ("false episodes a day and workload", lambda one: one.false_episodes_per_day, _plain(2), False),
        ("injected faults found", lambda one: one.recall, _percent(1), True),
        ("median delay, seconds", lambda one: one.delay, _plain(0), False),
        ("calibration error of confidence", lambda one: one.ece, _plain(3), False),
        ("share of normal rows under alarm", lambda one: one.vote.voted, _percent(3), False),
        ("average precision of the vote", _area, _plain(3), True),
    )
    return tuple(
        Change(label, take(report), None if champion is None else take(champion), form, rising)
        for label, take, form, rising in plan
    )


def _area(report: Report) -> float | None:
    found = report.precision.get("ensemble")
    return None if found is None else found.area


def in_words(found: Sequence[Change]) -> str:
    """What changed against the champion, in a sentence."""
    known = [one for one in found if one.difference is not None]
    if not known:
        return "There is no champion to compare with."
    groups = {
        "Better": [one for one in known if one.better is True],
        "worse": [one for one in known if one.better is False],
        "the same": [one for one in known if one.better is None],
    }
    parts = [f"{word}: {', '.join(map(_step, group))}" for word, group in groups.items() if group]
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}."


def _step(change: Change) -> str:
    mine, theirs, _ = change.cells()
    return f"{change.label} ({mine})" if change.same else f"{change.label} ({theirs} to {mine})"


def contents(report: Report, champion: Report | None) -> tuple[str, ...]:
    """What else is different: data, metrics, workloads. One phrase each."""
    if champion is None:
        return ()
    mine, theirs = report.training or report.held_back, champion.training or champion.held_back
    told = [
        _difference("metrics", report.metrics, champion.metrics),
        _difference("workloads", _names(report), _names(champion)),
        "" if report.catalogue == champion.catalogue else f"catalogue was `{champion.catalogue}`",
        "" if report.step == champion.step else f"one sample every {report.step:g} s, was {champion.step:g} s",
        "the same data"
        if mine.digest == theirs.digest
        else f"data until {mine.end:%Y-%m-%d %H:%M} UTC, was until {theirs.end:%Y-%m-%d %H:%M} UTC",
    ]
    return tuple(one for one in told if one)


def _names(report: Report) -> list[str]:
    return [row.workload for row in report.workloads]


def _difference(what: str, mine: Sequence[str], theirs: Sequence[str]) -> str:
    parts = [
        f"{label} {_few(sorted(names))}"
        for label, names in (("new", set(mine) - set(theirs)), ("gone", set(theirs) - set(mine)))
        if names
    ]
    return f"{what}: {', '.join(parts)}" if parts else ""


def _few(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
