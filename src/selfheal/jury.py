"""Detectors as they judge the newest rows of many workloads at once: what a request costs is decided here.

Of a score only as many of the newest rows are worked out as the vote depends on: three calm rows say that there is none
whatever was before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from selfheal.calibration import Confidence, Reference, References, VoteSettings, evidence, newest_votes, raise_votes
from selfheal.detectors.base import YARD, Batched, Detector, Flags, Witness
from selfheal.detectors.stack import Loop, stacked
from selfheal.forecast import may_exhaust
from selfheal.members import Pooled, Yardstick
from selfheal.window import Floats, MetricWindow, Places, Windows

_BLOCK = 128  # workloads judged together: what they need fits into a processor's cache
_MORE = 4  # times as many rows are looked at where a few do not tell


@dataclass(frozen=True)
class Testimony:
    """What a detector says of one window, said beforehand; to be asked like the detector itself.

    Attributes:
        seen: Its deviations, shape [t, m].
        usual: What it expected, shape [t, m].
        counters: Which metrics are counters, shape [m].
    """

    seen: Floats
    usual: Floats
    counters: Flags

    def deviations(self, _window: MetricWindow, /) -> Floats:
        """As :meth:`selfheal.detectors.base.Detector.deviations`."""
        return self.seen

    def expected(self, _window: MetricWindow, /) -> Floats:
        """As :meth:`selfheal.detectors.base.Detector.expected`."""
        return self.usual


class Verdicts(NamedTuple):
    """Of one detector on the newest row of n windows, all of shape [n].

    Attributes:
        votes: Whether it votes for an anomaly.
        scores: One minus the p-value against the standing reference.
        surprise: -log10 of the p-value against the moving one.
    """

    votes: Flags
    scores: Floats
    surprise: Floats


@dataclass(frozen=True)
class Juror:
    """One detector with what is normal for its score, for many workloads.

    Attributes:
        models: All of them in one.
        references: In the same order.
        places: Where a workload's stand; the pooled model's are the first for every workload.
        yardstick: Measures windows for the pooled model.
    """

    models: Batched | Loop
    references: References
    places: Mapping[str, int]
    yardstick: Yardstick | None = None

    @classmethod
    def own(cls, models: Mapping[str, Detector], references: Mapping[str, Reference]) -> Juror:
        """Workloads with models of their own; at least one."""
        order = {workload: place for place, workload in enumerate(models)}
        return cls(stacked(list(models.values())), References.of([references[name] for name in models]), order)

    @classmethod
    def pooled(cls, model: Pooled, reference: Reference) -> Juror:
        """Strangers."""
        return cls(stacked([model.detector]), References.of([reference]), {}, model.yardstick)

    @property
    def warmup(self) -> int:
        """First rows of a window with a neutral score."""
        return self.models.warmup + (YARD if self.yardstick else 0)

    def judge(self, windows: Windows, places: Places, settings: VoteSettings) -> Verdicts:
        """Judge the newest row.

        Args:
            windows: Without long silences.
            places: Where the models of their workloads stand, shape [n].
            settings: How surprise becomes a vote.
        """
        windows = self.yardstick.measure(windows) if self.yardstick else windows
        rows, count = len(windows), len(places)
        newest = min(rows, settings.among) if rows <= settings.stuck / windows.step else rows
        found = Verdicts(np.zeros(count, dtype=bool), np.zeros(count), np.zeros(count))
        open_ = np.arange(count)
        while open_.size:
            fixed, moving = self._surprises(windows.take(open_), places[open_], newest, settings)
            found.scores[open_], found.surprise[open_] = 1.0 - 10.0 ** -fixed[-1], moving[-1]
            if len(moving) == rows:
                found.votes[open_] = raise_votes(moving, settings)[-1]
                break
            votes, sure = newest_votes(moving, settings)
            found.votes[open_[sure]] = votes[sure]
            open_, newest = open_[~sure], min(rows, newest * _MORE)
        return found

    def testify(self, windows: Windows, places: Places) -> list[Testimony]:
        """What is said of each window, so that it can be explained."""
        if not places.size:
            return []
        models = self.models.take(places)
        counters = models.counters
        if self.yardstick is None:
            seen, usual = models.deviations(windows), models.expected(windows)
        else:
            measured, (centre, spread) = self.yardstick.measure(windows), self.yardstick.scale(windows)
            seen, usual = models.deviations(measured), models.expected(measured) * spread + centre
            counters = np.repeat(self.yardstick.counter[None], len(places), axis=0)
        return [Testimony(seen[:, i], usual[:, i], counters[i]) for i in range(len(places))]

    def _surprises(
        self, windows: Windows, places: Places, newest: int, settings: VoteSettings
    ) -> tuple[Floats, Floats]:
        """-log10 p of at least the newest rows, shape [k, n], against the standing and the moving reference."""
        raw = self.models.take(places).score(windows, newest)
        references = self.references.take(places)
        known = (np.arange(len(windows) - len(raw), len(windows)) >= self.warmup)[:, None]
        fixed = references.surprise(raw) * known
        if len(windows) <= settings.stuck / windows.step:
            return fixed, fixed
        return fixed, references.surprise(raw, references.shift(raw, settings, windows.step)) * known


@dataclass
class Finding:
    """What the detectors say of the newest row of one window.

    Attributes:
        votes: By detector, those that did not abstain.
        scores: One minus the p-value, by detector.
        abstained: Why, by detector.
        confidence: Calibrated probability that the row is anomalous.
        voters: Those who voted for an anomaly, or what they said.
        growing: Whether some metric may be on its way to a limit.
    """

    votes: dict[str, bool] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    abstained: dict[str, str] = field(default_factory=dict)
    confidence: float = 0.0
    voters: list[Witness] = field(default_factory=list)
    growing: bool = True


@dataclass(frozen=True)
class Jury:
    """All detectors of a model.

    Attributes:
        detectors: Their names, in the model's order.
        own: Those for workloads with models of their own.
        pooled: Those for strangers.
        confidence: From evidence to probability.
        settings: How surprise becomes a vote.
        abstains: Why a detector does not judge a workload's window with so many usable rows; empty where it does.
    """

    detectors: tuple[str, ...]
    own: Mapping[str, Juror]
    pooled: Mapping[str, Juror]
    confidence: Confidence
    settings: VoteSettings
    abstains: Callable[[str, str, int], str]

    def together(self, windows: Sequence[MetricWindow], *, own: bool) -> list[Finding]:
        """What is found in the newest rows.

        Args:
            windows: Of one length and without long silences.
            own: Whether they are of workloads with models of their own; else all are of strangers.
        """
        jurors, found = self.own if own else self.pooled, []
        for start in range(0, len(windows), _BLOCK):
            found += self._block(windows[start : start + _BLOCK], jurors)
        return found

    def _block(self, windows: Sequence[MetricWindow], jurors: Mapping[str, Juror]) -> list[Finding]:
        together, found = Windows.of(windows), [Finding() for _ in windows]
        usable = np.isfinite(together.values).any(axis=2).sum(axis=0).tolist()
        surprises = np.full((len(windows), len(self.detectors)), np.nan)
        for column, detector in enumerate(self.detectors):
            reasons = [self.abstains(w.workload, detector, rows) for w, rows in zip(windows, usable, strict=True)]
            able = [i for i, reason in enumerate(reasons) if not reason]
            for i, reason in enumerate(reasons):
                if reason:
                    found[i].abstained[detector] = reason
            if able:
                juror = jurors[detector]
                places = np.array([juror.places.get(windows[i].workload, 0) for i in able], dtype=np.intp)
                part = together.take(np.array(able, dtype=np.intp))
                surprises[able, column] = self._ask(juror, part, places, [found[i] for i in able], detector)
        said = zip(self.confidence(evidence(surprises)).tolist(), may_exhaust(together).tolist(), strict=True)
        for finding, (confidence, growing) in zip(found, said, strict=True):
            finding.confidence, finding.growing = confidence, growing
        return found

    def _ask(self, juror: Juror, windows: Windows, places: Places, found: Sequence[Finding], detector: str) -> Floats:
        """Note what one juror says; its surprise, shape [n]."""
        verdicts = juror.judge(windows, places, self.settings)
        for finding, vote, score in zip(found, verdicts.votes.tolist(), verdicts.scores.tolist(), strict=True):
            finding.votes[detector], finding.scores[detector] = vote, score
        voters = np.flatnonzero(verdicts.votes)
        for i, said in zip(voters.tolist(), juror.testify(windows.take(voters), places[voters]), strict=True):
            found[i].voters.append(said)
        return verdicts.surprise
