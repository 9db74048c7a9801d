"""The four detectors together: one verdict for each workload, from one window.

``trace`` judges every row of a window causally; ``predict`` answers a request with the newest row of the same trace.
Nothing is remembered between two calls (docs/adr/0003-stateless-windows.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from selfheal import references
from selfheal.answer import answer
from selfheal.artefact import read_manifest, write_manifest
from selfheal.calibration import Confidence, Reference, VoteSettings, evidence, raise_votes
from selfheal.catalogue import catalogue_hash
from selfheal.detectors import DETECTORS
from selfheal.detectors.base import Detector, check_names, silences
from selfheal.errors import BadModel, BadRequest, NoData
from selfheal.hearing import Hearing, Trace, usual
from selfheal.injection import clear_of, inject
from selfheal.jury import Finding, Juror, Jury
from selfheal.members import CHUNK, Members, Pooled, Progress, alike, spell
from selfheal.protocol import Instance, ModelInfo, Prediction
from selfheal.stored import KIND, StoredEnsemble, restored, stored
from selfheal.window import Floats, MetricWindow

__all__ = ["Ensemble", "Members", "Progress", "Trace", "split"]

_HELD_BACK = 0.2
_LEAST_HELD_BACK = 60  # rows, but never more than a third
_INJECTED = 12  # workloads that confidence is calibrated on; a logistic curve needs no more
_DRAWS = 3
_POOLED = "(pooled)"  # no workload's name: those hold no parenthesis


@dataclass(frozen=True)
class Ensemble:
    """Four members, their references and the confidence curve.

    Attributes:
        names: Metrics, in the model's order.
        step: Seconds between samples.
        workloads: Those with models of their own.
        info: Which model this is.
        members: By detector.
        references: What normal scores look like, by workload (or the pooled model) and detector.
        recent: The same as they looked lately, by workload; votes are measured by these where there are some.
        calibrated: First and last second of the data that ``references`` were learned from, by workload.
        confidence: From evidence to probability.
        settings: How surprise becomes a vote.
    """

    names: tuple[str, ...]
    step: float
    workloads: tuple[str, ...]
    info: ModelInfo
    members: Mapping[str, Members]
    references: Mapping[str, Mapping[str, Reference]]
    recent: Mapping[str, Mapping[str, Reference]]
    calibrated: Mapping[str, tuple[int, int]]
    confidence: Confidence
    settings: VoteSettings

    @classmethod
    def fit(cls, windows: Sequence[MetricWindow], *, seed: int = 0, progress: Progress | None = None) -> Ensemble:
        """Train all four detectors on the older part of the windows and calibrate them on the newest.

        Raises:
            BadRequest: When windows differ in metrics or step.
            NoData: Without a window, or when no workload has enough history.
        """
        training, held_back = split(windows)
        members = [Members.fit(name, training, seed=seed, progress=progress) for name in DETECTORS]
        return cls.assemble(members, held_back, seed=seed)

    @classmethod
    def assemble(cls, members: Sequence[Members], held_back: Sequence[MetricWindow], *, seed: int = 0) -> Ensemble:
        """Put fitted members together: calibrate votes and confidence on normal data that they were not trained on.

        Args:
            members: One for each detector, all trained on the same metrics.
            held_back: One window for each workload, newer than the training data.
            seed: For the injected faults.

        Raises:
            BadRequest: When members or windows differ in metrics or step.
            NoData: When fewer than two detectors could be trained and calibrated for any workload.
        """
        windows = [check_names(window, members[0].names) for window in alike(held_back)]
        if any(member.names != members[0].names for member in members):
            raise BadRequest("members were trained on different metrics: train them on the same windows")
        known = {window.workload: references.own(members, window) for window in windows}
        known[_POOLED] = references.pooled(members, windows)
        workloads = tuple(name for name, found in known.items() if len(found) >= 2 and name != _POOLED)
        if not workloads and len(known[_POOLED]) < 2:
            raise NoData(
                f"no workload has enough history to train two detectors ({references.why_none(members, windows)}): "
                "collect longer and train again"
            )
        found = cls(
            names=members[0].names,
            step=members[0].step,
            workloads=workloads,
            info=ModelInfo(catalogue=catalogue_hash(members[0].names)),
            members={member.detector: member for member in members},
            references=known,
            recent={},
            calibrated={window.workload: _span(window) for window in windows},
            confidence=Confidence.default(),
            settings=VoteSettings.for_step(members[0].step),
        )
        return replace(found, confidence=_learn_confidence(found, windows, seed))

    def with_info(self, info: ModelInfo) -> Ensemble:
        """The same model under a name and version; an empty catalogue hash is filled in."""
        return replace(self, info=info.model_copy(update={"catalogue": info.catalogue or self.info.catalogue}))

    def trace(self, window: MetricWindow) -> Trace:
        """Judge every row from itself and earlier rows alone.

        Raises:
            MetricMismatch: When the window's metrics are not the model's.
            BadRequest: When its step is another than the model's.
        """
        return self.read(self.hear(window))

    def hear(self, window: MetricWindow) -> Hearing:
        """What the detectors say of a window, before anything is called unusual; raises as :meth:`trace`."""
        window = self._checked(window)
        usable, raw, warmup, abstained = window.usable, {}, {}, {}
        for detector in self.members:
            model, reason = self._model(window.workload, detector), self._abstains(window.workload, detector, usable)
            if isinstance(model, str) or reason:
                abstained[detector] = reason
            else:
                raw[detector], warmup[detector] = model.score(window), model.warmup
        return Hearing(window.workload, window.times, raw, warmup, abstained)

    def read(self, heard: Hearing) -> Trace:
        """What a hearing comes to.

        Scores keep the standing references, so that an incident ranks as high next week as today. Votes and confidence
        take the recent ones.
        """
        standing, recent = self._references(heard.workload)
        scores = {name: 1.0 - 10.0**-found for name, found in heard.surprises(standing).items()}
        surprises, rows = heard.surprises(recent), len(heard.times)
        votes = {name: raise_votes(found, self.settings) for name, found in surprises.items()}
        if len(votes) < 2:
            none = np.zeros(rows, dtype=bool)
            return Trace(none, np.zeros(rows), np.zeros(rows), votes, scores, heard.abstained)
        return Trace(
            anomaly=np.sum(list(votes.values()), axis=0) >= 2,
            score=np.sort(list(scores.values()), axis=0)[-2],
            confidence=self.confidence(self._evidence(surprises, rows)),
            votes=votes,
            scores=scores,
            abstained=heard.abstained,
        )

    def recalibrated(self, heard: Sequence[Hearing]) -> Ensemble:
        """With votes that are measured by what was usual lately.

        The data of the calibration count as they did then; what came later counts without its alarms, as the standing
        references tell them: what was learned yesterday has no say in what is learned today.

        Args:
            heard: Of windows that reach back to the data of the calibration; strangers are left as they are. Rows
                before that were trained on and are ignored.
        """
        recent = dict(self.recent)
        standing = replace(self, recent={})
        for one in heard:
            if one.workload in self._known:
                first, last = self.calibrated[one.workload]
                seconds = one.times.astype("datetime64[s]").astype(np.int64)
                telling = (seconds <= last) | usual(standing.read(one).anomaly, self.step)
                learned = one.learn(telling & (seconds >= first), references.LEAST)
                recent[one.workload] = {**self.references[one.workload], **learned}
        return replace(self, recent=recent)

    def predict(self, instances: Sequence[Instance]) -> list[Prediction]:
        """Answer a request, one prediction for each instance, in order.

        Raises:
            MetricMismatch: When an instance's metrics are not the model's.
            BadRequest: When its step is another than the model's.
        """
        return self.judge([MetricWindow.from_instance(instance) for instance in instances])

    def judge(self, windows: Sequence[MetricWindow]) -> list[Prediction]:
        """The same for windows; those of one length are judged together.

        Raises:
            MetricMismatch: When a window's metrics are not the model's.
            BadRequest: When its step is another than the model's.
        """
        checked = [self._checked(window) for window in windows]
        own = [window.workload in self._known for window in checked]
        found: dict[int, Finding] = {}
        groups: dict[tuple[int, bool], list[int]] = defaultdict(list)
        for i, window in enumerate(checked):
            if silences(window):
                found[i] = self._alone(window)
            else:
                groups[len(window), own[i]].append(i)
        for (_, known), group in groups.items():
            together = self._jury.together([checked[i] for i in group], self._abstains, own=known)
            found |= zip(group, together, strict=True)
        return [answer(w, found[i], self.info, own=own[i]) for i, w in enumerate(checked)]

    def save(self, folder: Path) -> None:
        """Write members and calibration into a folder: numbers and JSON, nothing that could run."""
        for name, member in self.members.items():
            member.save(folder / name)
        manifest = StoredEnsemble(
            names=self.names,
            step=self.step,
            workloads=self.workloads,
            info=self.info,
            members=tuple(self.members),
            references=stored(self.references),
            recent=stored(self.recent),
            calibrated=dict(self.calibrated),
            weights=tuple(self.confidence.weights.tolist()),
            bias=self.confidence.bias,
            settings=self.settings.to_numbers(),
        )
        write_manifest(folder, manifest)

    @classmethod
    def load(cls, folder: Path) -> Ensemble:
        """Read what :meth:`save` wrote.

        Raises:
            BadModel: When it is damaged, altered or of another format.
        """
        manifest = read_manifest(folder, StoredEnsemble, KIND)
        members = {name: Members.load(folder / name) for name in manifest.members if name in DETECTORS}
        if len(members) < len(manifest.members) or any(m.names != manifest.names for m in members.values()):
            raise BadModel(f"{folder}: its members do not fit its manifest: train or fetch the model again")
        if manifest.info.catalogue != catalogue_hash(manifest.names):
            raise BadModel(
                f"{folder} was trained when its metrics meant something else (catalogue {manifest.info.catalogue}): "
                "train again with this version"
            )
        return cls(
            names=manifest.names,
            step=manifest.step,
            workloads=manifest.workloads,
            info=manifest.info,
            members=members,
            references=restored(manifest.references),
            recent=restored(manifest.recent),
            calibrated=manifest.calibrated,
            confidence=Confidence(np.array(manifest.weights), manifest.bias),
            settings=VoteSettings.from_numbers(manifest.settings),
        )

    def _checked(self, window: MetricWindow) -> MetricWindow:
        if abs(window.step - self.step) > 0.01 * self.step:
            raise BadRequest(
                f"window of {window.workload} has a step of {window.step:g} s, the model was trained at {self.step:g} s"
            )
        return check_names(window, self.names)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.workloads)

    def _model(self, workload: str, detector: str) -> Detector | Pooled | str:
        """What judges a workload for one detector, or why nothing does."""
        members = self.members[detector]
        if workload not in self._known:
            known = self.references.get(_POOLED, {})
            if members.pooled is None or detector not in known:
                return "needs history of this workload, and the model was trained without it"
            return members.pooled
        if workload not in members.models:
            return members.silent.get(workload, "was not trained for this workload")
        if detector not in self.references[workload]:
            return "has too little held-back history to be calibrated"
        return members.models[workload]

    def _abstains(self, workload: str, detector: str, usable: int) -> str:
        """Why a detector does not judge a window with so many usable rows; empty where it does."""
        model = self._model(workload, detector)
        if isinstance(model, str):
            return model
        if usable > model.warmup:
            return ""
        return f"needs a window of {spell((model.warmup + 1) * self.step)}, has {spell(usable * self.step)}"

    def _references(self, workload: str) -> tuple[Mapping[str, Reference], Mapping[str, Reference]]:
        """The standing ones and the recent ones."""
        name = workload if workload in self._known else _POOLED
        return self.references[name], self.recent.get(name, self.references[name])

    def _evidence(self, surprises: Mapping[str, Floats], rows: int) -> Floats:
        return evidence(np.column_stack([surprises.get(name, np.full(rows, np.nan)) for name in self.members]))

    @cached_property
    def _jury(self) -> Jury:
        own: dict[str, Juror] = {}
        pooled: dict[str, Juror] = {}
        for name, members in self.members.items():
            judges = {workload: self._model(workload, name) for workload in self.workloads}
            models = {workload: model for workload, model in judges.items() if not isinstance(model, str | Pooled)}
            if models:
                pairs = {workload: self._references(workload) for workload in models}
                standing, recent = ({w: pair[i][name] for w, pair in pairs.items()} for i in (0, 1))
                own[name] = Juror.own(models, standing, recent)
            if members.pooled and name in self.references.get(_POOLED, {}):
                pooled[name] = Juror.pooled(members.pooled, self.references[_POOLED][name])
        return Jury(tuple(self.members), own, pooled, self.confidence, self.settings)

    def _alone(self, window: MetricWindow) -> Finding:
        """What is found in one window by all of its rows."""
        trace = self.trace(window)
        models = [self._model(window.workload, name) for name, votes in trace.votes.items() if votes[-1]]
        return Finding(
            votes={name: bool(votes[-1]) for name, votes in trace.votes.items()},
            scores={name: float(scores[-1]) for name, scores in trace.scores.items()},
            abstained=dict(trace.abstained),
            confidence=float(trace.confidence[-1]),
            voters=[model for model in models if not isinstance(model, str)],
        )


def split(windows: Sequence[MetricWindow]) -> tuple[list[MetricWindow], list[MetricWindow]]:
    """Training part and held-back newest part of each window, in time: a fifth, or more where that is too few rows."""
    cuts = [_cut(window) for window in windows]
    training = [window.rows(0, cut) for window, cut in zip(windows, cuts, strict=True)]
    return training, [window.rows(cut) for window, cut in zip(windows, cuts, strict=True)]


def _cut(window: MetricWindow) -> int:
    """First row of the held-back part: enough rows with samples to calibrate on, but never over half of them."""
    usable = np.cumsum(np.isfinite(window.values).any(axis=1))
    fifth = len(window) - round(len(window) * _HELD_BACK)
    if not usable.size:
        return fifth
    wanted = min(2 * references.LEAST, int(usable[-1]) // 2)
    return min(fifth, int(np.searchsorted(usable, usable[-1] - wanted, side="right")))


def _span(window: MetricWindow) -> tuple[int, int]:
    first, last = window.times[[0, -1]].astype("datetime64[s]").astype(np.int64).tolist()
    return first, last


def _learn_confidence(ensemble: Ensemble, windows: Sequence[MetricWindow], seed: int) -> Confidence:
    """From faults injected into held-back windows, as the endpoint would see them."""
    random = np.random.default_rng(seed)
    rows, faulty = [], []
    chosen = [window for window in windows if window.workload in ensemble.workloads][:_INJECTED]
    for window in chosen * _DRAWS:
        changed, flags = inject(window, random)
        surprises = ensemble.hear(changed).surprises(ensemble.references[window.workload])
        if len(surprises) >= 2:
            told = CHUNK // 4 + np.flatnonzero(clear_of(flags)[CHUNK // 4 :])
            rows.append(ensemble._evidence(surprises, len(window))[told])
            faulty.append(flags[told])
    return Confidence.learn(np.vstack(rows), np.concatenate(faulty)) if rows else Confidence.default()
