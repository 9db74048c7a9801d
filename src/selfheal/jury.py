"""Detectors as they judge the newest rows of many workloads at once: what a request costs is decided here.

Of a score only as many of the newest rows are worked out as the vote depends on: three calm rows say that there is none
whatever was before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np

from selfheal.calibration import Confidence, Reference, References, VoteSettings, evidence, newest_votes, raise_votes
from selfheal.detectors.base import Batched, Detector, Flags, Sight, Testimony, Witness
from selfheal.detectors.stack import Loop, stacked
from selfheal.forecast import may_exhaust
from selfheal.members import Pooled, Yardstick
from selfheal.window import Floats, MetricWindow, Places, Windows

Abstains = Callable[[str, str, int], str]

_BLOCK = 128  # workloads judged together: what they need fits into a processor's cache
_THREADS = 4  # at most, for one request
_MORE = 4  # times as many rows are looked at where a few do not tell


class Verdicts(NamedTuple):
    """Of one detector on the newest row of n windows, arrays of shape [n].

    Attributes:
        votes: Whether it votes for an anomaly.
        scores: One minus the p-value against the standing reference.
        surprise: -log10 of the p-value against the recent one.
        sight: What it saw.
    """

    votes: Flags
    scores: Floats
    surprise: Floats
    sight: Sight


@dataclass(frozen=True)
class Juror:
    """One detector with what is normal for its score, for many workloads.

    Attributes:
        models: All of them in one.
        warmup: First rows of a window with a neutral score.
        references: In the same order; what scores are measured by.
        recent: What votes are measured by.
        places: Where a workload's stand; the pooled model's are the first for every workload.
        yardstick: Measures windows for the pooled model.
    """

    models: Batched | Loop
    warmup: int
    references: References
    recent: References
    places: Mapping[str, int]
    yardstick: Yardstick | None = None

    @classmethod
    def own(
        cls, models: Mapping[str, Detector], standing: Mapping[str, Reference], recent: Mapping[str, Reference]
    ) -> Juror:
        """Workloads with models of their own; at least one."""
        every = list(models.values())
        places = {workload: place for place, workload in enumerate(models)}
        known, lately = (References.of([found[workload] for workload in models]) for found in (standing, recent))
        return cls(stacked(every), every[0].warmup, known, lately, places)

    @classmethod
    def pooled(cls, model: Pooled, reference: Reference) -> Juror:
        """Strangers."""
        known = References.of([reference])
        return cls(stacked([model.detector]), model.warmup, known, known, {}, model.yardstick)

    def judge(self, windows: Windows, places: Places, settings: VoteSettings) -> Verdicts:
        """Judge the newest row.

        Args:
            windows: Without long silences.
            places: Where the models of their workloads stand, shape [n].
            settings: How surprise becomes a vote.
        """
        sight = self.models.look(self.yardstick.measure(windows) if self.yardstick else windows, places)
        rows, count = len(windows), len(places)
        newest, asked = min(rows, settings.among), np.arange(count)
        found = Verdicts(np.zeros(count, dtype=bool), np.zeros(count), np.zeros(count), sight)
        while asked.size:
            raw, where = sight.score(newest, asked), places[asked]
            known = (np.arange(rows - newest, rows) >= self.warmup)[:, None]
            recent = self.recent.take(where).surprise(raw) * known
            standing = self.references.take(where).surprise(raw[-1:]) * known[-1:]
            found.scores[asked], found.surprise[asked] = 1.0 - 10.0 ** -standing[-1], recent[-1]
            votes, sure = newest_votes(recent, settings)
            if newest == rows:
                votes, sure = raise_votes(recent, settings)[-1], np.ones(len(asked), dtype=bool)
            found.votes[asked[sure]] = votes[sure]
            asked, newest = asked[~sure], min(rows, newest * _MORE)
        return found

    def testify(self, sight: Sight, windows: Windows, place: int) -> Testimony:
        """What is said of one of the windows judged, so that it can be explained."""
        said = sight.testify(place)
        if self.yardstick is None:
            return said
        centre, spread = self.yardstick.scale(windows.take(np.array([place])))
        return Testimony(said.seen, said.usual * spread[0] + centre[0], self.yardstick.counter)


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
    """

    detectors: tuple[str, ...]
    own: Mapping[str, Juror]
    pooled: Mapping[str, Juror]
    confidence: Confidence
    settings: VoteSettings

    def together(self, windows: Sequence[MetricWindow], abstains: Abstains, *, own: bool) -> list[Finding]:
        """What is found in the newest rows.

        Args:
            windows: Of one length and without long silences.
            abstains: Why a detector does not judge a workload's window with so many usable rows; empty where it does.
            own: Whether they are of workloads with models of their own; else all are of strangers.
        """
        jurors = self.own if own else self.pooled
        blocks = [windows[start : start + _BLOCK] for start in range(0, len(windows), _BLOCK)]
        if len(blocks) == 1:
            return self._block(jurors, abstains, blocks[0])
        with ThreadPoolExecutor(min(os.cpu_count() or 1, len(blocks), _THREADS)) as threads:  # numpy lets others run
            return list(chain.from_iterable(threads.map(partial(self._block, jurors, abstains), blocks)))

    def _block(self, jurors: Mapping[str, Juror], abstains: Abstains, windows: Sequence[MetricWindow]) -> list[Finding]:
        together, found = Windows.of(windows), [Finding() for _ in windows]
        usable = np.isfinite(together.values).any(axis=2).sum(axis=0).tolist()
        surprises = np.full((len(windows), len(self.detectors)), np.nan)
        for column, detector in enumerate(self.detectors):
            reasons = [abstains(w.workload, detector, rows) for w, rows in zip(windows, usable, strict=True)]
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
        for i in np.flatnonzero(verdicts.votes).tolist():
            found[i].voters.append(juror.testify(verdicts.sight, windows, i))
        return verdicts.surprise
