"""What a training run leaves in the registry for people to read. Imports no mlflow: its client is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from platform import python_version
from typing import Any, Protocol

from selfheal import __version__
from selfheal.ensemble import Ensemble, Members
from selfheal.modelcard import Context
from selfheal.protocol import Instance
from selfheal.report import REPORT_FILE, Report
from selfheal.report_plots import figures, html
from selfheal.report_tables import tables

__all__ = ["Logged", "log_pages", "log_report", "versions"]

_NOTE = "mlflow.note.content"  # MLflow shows this tag as the run's description
_PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn", "statsmodels", "prophet", "torch", "mlflow")


class Client(Protocol):
    """The part of MLflow's client that is used here."""

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Store a text file."""

    def log_figure(self, run_id: str, figure: Any, artifact_file: str) -> None:
        """Store a plot."""

    def log_param(self, run_id: str, key: str, value: Any) -> Any:
        """Store a setting."""

    def set_tag(self, run_id: str, key: str, value: Any) -> Any:
        """Store a tag."""


@dataclass(frozen=True)
class Logged:
    """What the five models of one run have in common.

    Attributes:
        run_id: Of the run.
        sample: Input example.
        card: Model card.
        figures: Metrics by name.
        moment: Of the newest sample judged on, milliseconds; the time of the metrics, so that runs on one history
            compare.
    """

    run_id: str
    sample: Instance
    card: str
    figures: Mapping[str, float]
    moment: int

    def figures_of(self, model: Ensemble | Members) -> dict[str, float]:
        """A detector's own figures; those of the whole for the ensemble."""
        if isinstance(model, Members):
            return {name: value for name, value in self.figures.items() if name.startswith(f"{model.detector}_")}
        parts = tuple(f"{name}_" for name in model.members)
        return {name: value for name, value in self.figures.items() if not name.startswith(parts)}


def log_report(client: Client, run_id: str, ensemble: Ensemble, report: Report) -> None:
    """Settings and plots of the run, and the report itself."""
    settings = {
        "metrics": len(report.metrics),
        "step_seconds": report.step,
        "workloads": len(ensemble.workloads),
        "vote_level": ensemble.settings.level,
        "members": ", ".join(ensemble.members),
        "seed": report.seed,
    }
    for name, value in settings.items():
        client.log_param(run_id, name, value)
    client.log_text(run_id, report.model_dump_json(indent=1), REPORT_FILE)
    for name, figure in figures(report).items():
        client.log_figure(run_id, figure, f"figures/{name}.png")


def log_pages(client: Client, run_id: str, report: Report, context: Context, card: str) -> None:
    """What people read; written again when there is a verdict."""
    client.set_tag(run_id, _NOTE, card)
    client.log_text(run_id, html(report, context), "report.html")
    for name, text in tables(report, context.champion).items():
        client.log_text(run_id, text, name)


def versions() -> str:
    """Of what trains and reads the models, as far as it is installed here."""
    found = [f"selfheal {__version__}", f"python {python_version()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {installed(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
