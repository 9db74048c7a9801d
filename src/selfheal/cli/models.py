"""``selfheal models``: the registered versions, what was decided about them, and who is in service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from selfheal.cli.output import Json, emit, note, table
from selfheal.errors import Conflict, NoData

if TYPE_CHECKING:
    from selfheal.mlmodel import Version
    from selfheal.registry import Registry

Uri = Annotated[
    str,
    typer.Option(
        "--tracking-uri",
        envvar=["SELFHEAL_TRACKING_URI", "MLFLOW_TRACKING_URI"],
        help="The MLflow that has them, for example sqlite:////data/mlflow.db or https://mlflow.example.com.",
    ),
]
Number = Annotated[str, typer.Argument(help="Version of the ensemble, as `selfheal models list` shows it.")]

_SHOWN = ("false_episodes_per_day", "recall", "delay_seconds", "ece")


def listed(tracking_uri: Uri, as_json: Json = False) -> None:
    """List the registered versions, the newest first.

    With alias, verdict and the figures that decide. Ends with 3 when nothing is registered.
    """
    registry = _registry(tracking_uri)
    found = [_entry(registry, one) for one in _versions(registry)]
    if as_json:
        emit({"versions": found}, "", as_json=True)
        return
    columns = ("version", "aliases", "accepted", "registered", "false a day", "recall", "delay, s", "ece", "git sha")
    table("selfheal-ensemble", columns, [_row(one) for one in found])


def show(version: Number, tracking_uri: Uri, as_json: Json = False) -> None:
    """Show a version's model card.

    With --json also its whole report. Ends with 3 when there is no such version.
    """
    registry = _registry(tracking_uri)
    chosen = _chosen(registry, version)
    report = registry.report(version)
    entry = _entry(registry, chosen) | {
        "card": chosen.card,
        "report": None if report is None else report.model_dump(mode="json"),
    }
    emit(entry, chosen.card, as_json=as_json)


def promote(
    version: Number,
    tracking_uri: Uri,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Even when the compare step refused it, or never ran.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a version the champion, with its four members.

    Refuses a version that the compare step did not accept, with its sentence. The champion before keeps the alias
    previous; endpoints follow at their next look.
    """
    registry = _registry(tracking_uri)
    chosen = _chosen(registry, version)
    if chosen.accepted is not True and not anyway:
        why = chosen.verdict or "the compare step has not judged it"
        raise Conflict(f"version {version} was not accepted: {why.rstrip('.')}. To promote it all the same: --anyway")
    if chosen.accepted is not True:
        note(f"promoting version {version} without the compare step's consent")
    registry.promote(version)
    emit({"champion": version}, f"version {version} is the champion", as_json=as_json)


def rollback(tracking_uri: Uri, as_json: Json = False) -> None:
    """Bring the champion before back, with its four members.

    The one put away becomes previous, so a second rollback undoes the first. Ends with 3 when there was none before.
    """
    version = _registry(tracking_uri).rollback()
    emit({"champion": version}, f"version {version} is the champion again", as_json=as_json)


def _registry(tracking_uri: str) -> Registry:
    from selfheal.registry import Registry  # mlflow takes seconds to import

    return Registry(tracking_uri)


def _versions(registry: Registry) -> list[Version]:
    found = registry.versions()
    if not found:
        raise NoData(f"no model is registered in {registry.tracking_uri}: run the training pipeline (selfheal train)")
    return found


def _chosen(registry: Registry, version: str) -> Version:
    known = _versions(registry)
    for one in known:
        if one.number == version:
            return one
    raise NoData(f"there is no version {version}: the newest is {known[0].number} (selfheal models list)")


def _entry(registry: Registry, version: Version) -> dict[str, Any]:
    report = registry.report(version.number)
    figures = {} if report is None else report.figures()
    return {
        "version": version.number,
        "aliases": list(version.aliases),
        "accepted": version.accepted,
        "verdict": version.verdict,
        "registered": version.created.isoformat(timespec="seconds"),
        "figures": {name: figures.get(name) for name in _SHOWN},
        "origin": dict(version.origin),
    }


def _row(entry: dict[str, Any]) -> list[str]:
    accepted = {True: "yes", False: "no", None: "-"}[entry["accepted"]]
    figures = ["-" if value is None else f"{value:.3g}" for value in entry["figures"].values()]
    sha = entry["origin"].get("selfheal.git_sha", "-")[:10]
    return [entry["version"], ", ".join(entry["aliases"]) or "-", accepted, entry["registered"], *figures, sha]
