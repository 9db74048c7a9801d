"""The model registry: the only importer of mlflow.

A registered model is a folder of data that our own ``save`` wrote, with an ``MLmodel`` file beside it that names the
signature and the input example. Nothing in it is code or a pickle (docs/adr/0004-models-as-data.md).

Aliases: ``challenger`` is the newest candidate, ``champion`` the one in service, ``previous`` the champion before it.
All five models of one run move together, the ensemble last: who reads the ensemble's champion finds its members.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal.remote import QUIET, told, why

os.environ.update({**QUIET, **os.environ})

import mlflow
from mlflow.entities import Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, infer_signature

from selfheal import __version__
from selfheal.ensemble import Ensemble, Members
from selfheal.errors import BadModel, Conflict, NoData, Unavailable, WrongUse
from selfheal.mlmodel import ACCEPTED, MEMBERS, Version, example, folder_beside, model_folder, parse_uri, scorer, table
from selfheal.promotion import CHALLENGER, CHAMPION, PREVIOUS, member_name, promote
from selfheal.protocol import MODEL_NAME, Instance, ModelInfo
from selfheal.report import REPORT_FILE, Report
from selfheal.window import MetricWindow

if TYPE_CHECKING:
    from selfheal.modelcard import Context
    from selfheal.run_log import Logged

__all__ = ["CHALLENGER", "CHAMPION", "EXPERIMENT", "PREVIOUS", "Registry", "member_name"]

EXPERIMENT = "selfheal-training"
_FLAVOR = "selfheal"
_BATCH = 500  # metrics in one call; MLflow takes 1,000
# What the data needs to be read. Our own name is not among them: on a public index it could be anybody's.
_REQUIREMENTS = ["numpy", "pandas", "pydantic", "scipy"]
_THERE = "RESOURCE_ALREADY_EXISTS"
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second for an alias that nobody set

for noisy in ("mlflow", "alembic"):  # they report at length on each step, and on pip versions that nobody uses
    logging.getLogger(noisy).setLevel(logging.ERROR)


class Registry:
    """Models in one MLflow. The process's tracking URI becomes this one, since mlflow consults it on its own.

    Args:
        tracking_uri: ``sqlite:////data/mlflow.db`` (artifacts then lie in ``mlartifacts`` beside the file) or the URL
            of a tracking server.
    """

    def __init__(self, tracking_uri: str) -> None:
        if not tracking_uri.startswith(("sqlite:///", "http://", "https://")):
            raise WrongUse(
                f"{tracking_uri.partition(':')[0]!r} is no tracking URI: write sqlite:////path/mlflow.db or "
                "https://server. A database such as PostgreSQL is used through a server (docs/mlflow.md)"
            )
        self.tracking_uri = tracking_uri
        if (folder := folder_beside(tracking_uri)) is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with self._asking():
            self._client = mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def register(
        self,
        ensemble: Ensemble,
        members: Sequence[Members],
        report: Report,
        *,
        tags: Mapping[str, str],
        newest: MetricWindow | None = None,
        shares: str = "",
    ) -> str:
        """Log one run with its models and make them challengers.

        Args:
            ensemble: The assembled model.
            members: Its four detectors, those that are new.
            report: What it was measured to do.
            tags: Where it comes from (git sha, pipeline run, ...); catalogue hash and data digest are added.
            newest: A window whose newest rows become the input example; made-up numbers without it.
            shares: Version of the ensemble whose detectors this one shares, where they are not new.

        Returns:
            The ensemble's version.

        Raises:
            NoData: When there is no such version to share with.
            Unavailable: When the tracking server does not answer.
            Conflict: When somebody else moved the alias meanwhile.
        """
        from selfheal.modelcard import model_card
        from selfheal.run_log import Logged, log_pages, log_report, versions

        digest = (report.training or report.held_back).digest
        known = {**tags, "selfheal.catalogue": report.catalogue, "selfheal.data_digest": digest}
        known |= {"selfheal.versions": versions()}
        sample = example(ensemble, newest)
        with self._asking(), self._run(known) as run_id:
            context = self._context(run_id, known)
            card = model_card(report, context)
            log_report(self._client, run_id, ensemble, report)
            log_pages(self._client, run_id, report, context, card)
            log = Logged(run_id, sample, card, report.figures(), int(report.held_back.end.timestamp() * 1000))
            made = self.members(shares) if shares else {}
            for one in members:
                name = member_name(one.detector)
                made[name] = self._register_one(name, one, log, known)
            tied = known | {MEMBERS: json.dumps(made, sort_keys=True)}
            made[MODEL_NAME] = self._register_one(MODEL_NAME, ensemble, log, tied)
            for name, number in made.items():
                self._point(name, CHALLENGER, number)
        return made[MODEL_NAME]

    def promote(self, version: str) -> None:
        """Make a version, with the members of its run, the champion; the champion before keeps alias ``previous``.

        Args:
            version: Of the ensemble.

        Raises:
            NoData: When there is no such version.
            Conflict: When somebody else moved the alias meanwhile.
        """
        promote(self, version)

    def named(self, name: str, alias: str) -> str | None:
        """The version that an alias of a model points to."""
        with self._asking():
            found = self._alias(name, alias)
        return None if found is None else str(found.version)

    def point(self, name: str, alias: str, version: str) -> None:
        """Point an alias of one model to a version; ``promote`` moves all five."""
        with self._asking():
            try:
                self._client.set_registered_model_alias(name, alias, version)
            except MlflowException as error:
                if "unique constraint" not in str(error).lower():
                    raise
                self._client.set_registered_model_alias(name, alias, version)  # somebody made it at the same moment

    def members(self, version: str) -> dict[str, str]:
        """Versions of the detectors of an ensemble, by name."""
        with self._asking():
            return dict(json.loads(self._chosen(version).tags.get(MEMBERS, "{}")))

    def rollback(self) -> str:
        """Make the champion before the champion again, with its members; the one put away becomes ``previous``.

        Returns:
            The version in service now.

        Raises:
            NoData: When there was no champion before.
            Conflict: When somebody else moved the alias meanwhile.
        """
        self.promote(version := self.resolve(f"models:/{MODEL_NAME}@{PREVIOUS}"))
        return version

    def record_verdict(self, version: str, *, accepted: bool, sentence: str, champion: Report | None = None) -> None:
        """Write what the comparison with the champion said to the ensemble's card and page, for a reviewer to read.

        Args:
            version: Of the challenger.
            accepted: Whether it may be promoted.
            sentence: Why.
            champion: The champion's report on the challenger's data; None when it could not judge them.

        Raises:
            NoData: When there is no such version.
            BadModel: When its report is damaged.
        """
        from selfheal.modelcard import model_card
        from selfheal.run_log import log_pages

        with self._asking():
            chosen = self._chosen(version)
            origin = {name: value for name, value in chosen.tags.items() if name not in (MEMBERS, ACCEPTED)}
            context = replace(self._context(chosen.run_id or "", origin), accepted=accepted, verdict=sentence)
            if champion is not None:
                context = replace(context, champion=champion, same_data=True)
            self._client.set_model_version_tag(MODEL_NAME, version, ACCEPTED, str(accepted).lower())
            if (report := self._report(chosen)) is None:
                self._client.update_model_version(MODEL_NAME, version, f"## Verdict\n{sentence}")
                return
            card = model_card(report, context)
            self._client.update_model_version(MODEL_NAME, version, card)
            log_pages(self._client, chosen.run_id or "", report, context, card)

    def champion(self) -> tuple[Ensemble, str] | None:
        """The model in service and its version; None when nothing was promoted yet."""
        found = self.named(MODEL_NAME, CHAMPION)
        return None if found is None else (self.load_ensemble(f"models:/{MODEL_NAME}/{found}"), found)

    def versions(self) -> list[Version]:
        """All of the ensemble, the newest first; none where nothing was registered yet."""
        with self._asking():
            found = self._client.search_model_versions(f"name='{MODEL_NAME}'")
            aliases = self._client.get_registered_model(MODEL_NAME).aliases if found else {}
        told = [Version.of(str(v.version), v.creation_timestamp, v.tags, aliases, v.description or "") for v in found]
        return sorted(told, key=lambda one: int(one.number), reverse=True)

    def report(self, version: str) -> Report | None:
        """What a version of the ensemble was measured to do; None when its run holds no report.

        Raises:
            NoData: When there is no such version.
            BadModel: When the report is damaged.
        """
        with self._asking():
            return self._report(self._chosen(version))

    def resolve(self, uri: str) -> str:
        """The version that a ``models:/`` URI points to now. Cheap: nothing is downloaded.

        Raises:
            NoData: When nothing is registered there.
        """
        with self._asking():
            return str(self._found(uri).version)

    def load_ensemble(self, uri: str) -> Ensemble:
        """Download a registered ensemble.

        Args:
            uri: ``models:/selfheal-ensemble@champion`` or ``models:/selfheal-ensemble/7``.

        Returns:
            The ensemble; its ``info`` says name, version, run and catalogue.

        Raises:
            WrongUse: When the URI is none.
            NoData: When nothing is registered there.
            BadModel: When what is there is damaged or of another format.
            Unavailable: When the tracking server does not answer.
        """
        with self._asking(), tempfile.TemporaryDirectory() as folder:
            found = self._found(uri)
            place = self._client.get_model_version_download_uri(found.name, str(found.version))
            path = mlflow.artifacts.download_artifacts(
                artifact_uri=place, dst_path=folder, tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri
            )
            ensemble = Ensemble.load(model_folder(Path(path)))
        info = ModelInfo(name=found.name, version=str(found.version), run_id=found.run_id or "")
        return ensemble.with_info(info)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Tell mlflow where to ask, keep its imports from warning, and translate its errors."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The ``noload`` loader strategy", DeprecationWarning)
            warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
            mlflow.set_tracking_uri(self.tracking_uri)
            mlflow.set_registry_uri(self.tracking_uri)
            try:
                with told(self.tracking_uri):
                    yield
            except MlflowException as error:
                raise Unavailable(f"MLflow at {self.tracking_uri}: {why(f'{error.error_code}: {error}')}") from error

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        folder = folder_beside(self.tracking_uri)
        place = None if folder is None else (folder / "mlartifacts").as_uri()
        try:
            return str(self._client.create_experiment(EXPERIMENT, artifact_location=place))
        except MlflowException as error:
            if error.error_code != _THERE:
                raise
            return self._experiment()  # another run made it in between

    def _context(self, run_id: str, origin: Mapping[str, str]) -> Context:
        """What is known beside a report before a verdict: the champion's stored figures and the origin."""
        from selfheal.modelcard import Context

        found = self._alias(MODEL_NAME, CHAMPION)
        return Context(
            champion=None if found is None else self._report(found),
            champion_version="" if found is None else str(found.version),
            origin=origin,
            page=f"#/experiments/{self._experiment()}/runs/{run_id}/artifacts/report.html",
        )

    @contextmanager
    def _run(self, tags: Mapping[str, str]) -> Iterator[str]:
        """A run that says in the end whether it came through."""
        run_id = str(self._client.create_run(self._experiment(), tags=dict(tags)).info.run_id)
        status = "FAILED"
        try:
            yield run_id
            status = "FINISHED"
        finally:
            self._client.set_terminated(run_id, status)

    def _register_one(self, name: str, model: Ensemble | Members, log: Logged, tags: Mapping[str, str]) -> str:
        """Log one model with its metrics and make a version of it."""
        self._ensure_registered(name)
        logged = self._client.create_logged_model(self._experiment(), name, log.run_id, dict(tags), model_type=_FLAVOR)
        metrics = [
            Metric(name, value, log.moment, 0, logged.model_id, run_id=log.run_id)
            for name, value in log.figures_of(model).items()
        ]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(log.run_id, metrics[start : start + _BATCH])
        with tempfile.TemporaryDirectory() as folder:
            data, target = Path(folder, "model"), Path(folder, "out")
            model.save(data)
            described = Model(model_id=logged.model_id, model_uuid=logged.model_id, run_id=log.run_id)
            _write(described, model, data, log.sample, target)
            self._client.log_model_artifacts(logged.model_id, str(target))
        self._client.finalize_logged_model(logged.model_id, "READY")
        version = self._client.create_model_version(
            name,
            f"models:/{logged.model_id}",
            log.run_id,
            dict(tags),
            description=log.card,
            model_id=logged.model_id,
        )
        return str(version.version)

    def _ensure_registered(self, name: str) -> None:
        try:
            self._client.create_registered_model(name, description="Each version carries its model card.")
        except MlflowException as error:
            if error.error_code != _THERE:
                raise

    def _point(self, name: str, alias: str, version: str) -> None:
        """Set an alias and look whether it stayed."""
        self.point(name, alias, version)
        if (now := self.named(name, alias)) != version:
            raise Conflict(f"{name}@{alias} was set to version {version} and points to {now}: somebody else moved it")

    def _alias(self, name: str, alias: str) -> ModelVersion | None:
        return _there(self._client.get_model_version_by_alias, name, alias)

    def _found(self, uri: str) -> ModelVersion:
        name, alias, number = parse_uri(uri)
        found = self._alias(name, alias) if alias else _there(self._client.get_model_version, name, number)
        if found is None:
            raise NoData(f"nothing is registered at {uri} in {self.tracking_uri}: run the training pipeline first")
        return found

    def _chosen(self, version: str) -> ModelVersion:
        return self._found(f"models:/{MODEL_NAME}/{version}")

    def _report(self, version: ModelVersion) -> Report | None:
        run_id = version.run_id
        if not run_id or not any(one.path == REPORT_FILE for one in self._client.list_artifacts(run_id)):
            return None
        with tempfile.TemporaryDirectory() as folder:
            text = Path(self._client.download_artifacts(run_id, REPORT_FILE, folder)).read_text()
        try:
            return Report.model_validate_json(text)
        except ValueError as error:
            raise BadModel(f"{REPORT_FILE} of {MODEL_NAME} version {version.version} cannot be read: {error}") from None


def _there(ask: Callable[[str, str], ModelVersion], name: str, which: str) -> ModelVersion | None:
    try:
        return ask(name, which)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise


def _write(described: Model, model: Ensemble | Members, data: Path, sample: Instance, target: Path) -> None:
    """Write an MLflow model folder: our data, signature, example, and no code."""
    rows = table([sample])
    described.add_flavor(_FLAVOR, data=f"data/{data.name}", version=__version__)
    mlflow.pyfunc.save_model(
        target,
        loader_module="selfheal.mlmodel",
        data_path=str(data),
        mlflow_model=described,
        signature=infer_signature(rows, scorer(model).predict(rows)),
        input_example=rows,
        pip_requirements=_REQUIREMENTS,
    )
