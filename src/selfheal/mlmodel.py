"""What MLflow's generic interface (``mlflow.pyfunc``) sees of our models. Imports no mlflow.

The input is a table with one row a workload, as the endpoint takes it: ``workload``, ``end``, ``step`` and ``window``
(an object with a list of samples by metric). The module is named as loader in each ``MLmodel`` file; it reads data and
runs nothing that lies beside the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from selfheal.detectors.base import check_names
from selfheal.ensemble import Ensemble, Members
from selfheal.errors import BadModel, WrongUse
from selfheal.protocol import MODEL_NAME, Instance, parse_instances
from selfheal.window import MetricWindow, fill_gaps, grid

__all__ = [
    "ACCEPTED",
    "MEMBERS",
    "EnsembleScorer",
    "MembersScorer",
    "Scorer",
    "Version",
    "example",
    "folder_beside",
    "model_folder",
    "parse_uri",
    "scorer",
    "table",
]

ACCEPTED = "selfheal.accepted"
"""Tag of the ensemble's version: whether the compare step would promote it."""

MEMBERS = "selfheal.members"
"""Tag of the ensemble's version: versions of its four members, as JSON."""

_URI = re.compile(r"models:/(?P<name>[\w.-]+)(?:@(?P<alias>[\w-]+)|/(?P<version>\d+))")

_ROWS = 240  # of the example; enough for every detector's warm-up
_INSIDE = Path("data") / "model"


@dataclass(frozen=True)
class Version:
    """A registered version of the ensemble, as far as a list shows it.

    Attributes:
        number: Its version.
        created: When it was registered.
        aliases: That point to it.
        accepted: What the compare step decided; None before it has.
        origin: Git sha, pipeline run and the like.
        card: Its model card.
    """

    number: str
    created: datetime
    aliases: tuple[str, ...]
    accepted: bool | None
    origin: Mapping[str, str]
    card: str

    @classmethod
    def of(
        cls, number: str, milliseconds: int, tags: Mapping[str, str], aliases: Mapping[str, str], card: str
    ) -> Version:
        """From what the registry keeps; ``aliases`` are those of all versions."""
        told = {"true": True, "false": False}.get(tags.get(ACCEPTED, ""))
        origin = {name: value for name, value in tags.items() if name not in (ACCEPTED, MEMBERS)}
        pointing = tuple(sorted(name for name, version in aliases.items() if str(version) == number))
        return cls(number, datetime.fromtimestamp(milliseconds / 1000, UTC), pointing, told, origin, card)

    @property
    def verdict(self) -> str:
        """The sentence of the compare step; empty before it has decided."""
        found = self.card.removeprefix("## Verdict\n").partition("\n")[0]
        return "" if self.accepted is None else found


class Scorer(Protocol):
    """What ``mlflow.pyfunc.load_model`` wraps."""

    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """One row of answers for each row of input."""
        ...


class EnsembleScorer:
    """Answers of the ensemble: ``workload``, ``anomaly`` (missing for "cannot tell"), ``confidence``, ``message``."""

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble = ensemble

    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """One row of answers for each row of input."""
        columns = ["workload", "anomaly", "confidence", "message"]
        found = self._ensemble.predict(_instances(model_input))
        return pd.DataFrame([[getattr(one, name) for name in columns] for one in found], columns=columns)


class MembersScorer:
    """Raw scores of one detector (not calibrated): ``workload``, ``score`` of the newest row, ``message``."""

    def __init__(self, members: Members) -> None:
        self._members = members

    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """One row of answers for each row of input."""
        windows = [MetricWindow.from_instance(instance) for instance in _instances(model_input)]
        return pd.DataFrame([self._answer(check_names(window, self._members.names)) for window in windows])

    def _answer(self, window: MetricWindow) -> dict[str, Any]:
        model = self._members.models.get(window.workload) or self._members.pooled
        why = self._members.silent.get(window.workload, "the model knows neither the workload nor a pool")
        if model is None:
            return {"workload": window.workload, "score": None, "message": why}
        return {"workload": window.workload, "score": float(model.score(window)[-1]), "message": ""}


def scorer(model: Ensemble | Members) -> Scorer:
    """The generic face of a model."""
    return EnsembleScorer(model) if isinstance(model, Ensemble) else MembersScorer(model)


def _instances(rows: pd.DataFrame) -> list[Instance]:
    items = rows.to_dict("records")
    for item in items:
        item["window"] = {name: list(samples) for name, samples in item["window"].items()}
    return parse_instances({"instances": items})


def example(ensemble: Ensemble, window: MetricWindow | None = None) -> Instance:
    """A request that the ensemble can answer.

    Args:
        ensemble: To be asked.
        window: Whose newest rows to take, gaps filled; gentle made-up waves by default.
    """
    if window is None:
        waves = 100.0 + 5.0 * np.sin(np.arange(_ROWS)[:, None] / 12.0 + np.arange(len(ensemble.names)))
        workload = ensemble.workloads[0] if ensemble.workloads else "example/Deployment/example"
        times = grid(np.datetime64("2026-01-05T12:00:00", "s"), _ROWS, ensemble.step)
        window = MetricWindow(workload, times, waves, ensemble.names, ensemble.step)
    newest = check_names(window, ensemble.names).rows(-_ROWS)
    values = fill_gaps(newest.values)
    return Instance.model_validate(
        {
            "workload": newest.workload,
            "end": f"{newest.times[-1]}Z",
            "step": newest.step,
            "window": {name: values[:, column].tolist() for column, name in enumerate(newest.names)},
        }
    )


def table(instances: Sequence[Instance]) -> pd.DataFrame:
    """Requests as the table that the scorers take."""
    return pd.DataFrame(
        [
            {"workload": one.workload, "end": one.end.isoformat(), "step": one.step, "window": dict(one.window)}
            for one in instances
        ]
    )


def parse_uri(uri: str) -> tuple[str, str, str]:
    """Name, alias and version of a ``models:/`` URI; one of the last two is empty.

    Raises:
        WrongUse: When it is none.
    """
    parts = _URI.fullmatch(uri)
    if parts is None:
        raise WrongUse(f"{uri!r} is no model URI: write models:/{MODEL_NAME}@champion or models:/{MODEL_NAME}/7")
    return parts["name"], parts["alias"] or "", parts["version"] or ""


def folder_beside(tracking_uri: str) -> Path | None:
    """The folder of a sqlite file, where artifacts go; None for a server, which has its own place."""
    if not tracking_uri.startswith("sqlite:"):
        return None
    return Path(tracking_uri.split(":///", 1)[1]).resolve().parent


def model_folder(downloaded: Path) -> Path:
    """Where in a downloaded MLflow model our own files lie.

    Raises:
        BadModel: When it is none of ours.
    """
    if not (downloaded / _INSIDE / "manifest.json").is_file():
        raise BadModel(f"{downloaded} holds no selfheal model ({_INSIDE}/manifest.json is missing)")
    return downloaded / _INSIDE


def _load_pyfunc(path: str) -> Scorer:
    """Called by mlflow with the data folder; the kind of model is told by what can be read."""
    folder = Path(path)
    try:
        return EnsembleScorer(Ensemble.load(folder))
    except BadModel:
        return MembersScorer(Members.load(folder))
