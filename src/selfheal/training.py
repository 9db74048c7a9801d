"""The steps of the training pipeline, as functions from folders to folders. The components are thin covers of these.

Heavy libraries are imported by the steps that need them, because each step runs in a process of its own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal.catalogue import Scope
from selfheal.collection import Gathered, gather, halves, mounted
from selfheal.errors import BadRequest, NoData, Unavailable, WrongUse
from selfheal.prometheus import PrometheusClient
from selfheal.protocol import MODEL_NAME, Instance, Prediction, parse_predictions, to_request
from selfheal.report import Report
from selfheal.window import MetricWindow, load_windows, save_windows

if TYPE_CHECKING:
    from selfheal.ensemble import Ensemble, Members

__all__ = [
    "assemble",
    "client",
    "collect_windows",
    "decide",
    "judge",
    "probe_all",
    "promote_when_accepted",
    "register_models",
    "smoke",
    "split_windows",
    "train_shard",
]

ENDPOINT_PATIENCE = 180.0
"""Seconds in which an endpoint must have taken over a promoted model."""

logger = logging.getLogger(__name__)


def _say(text: str, *values: object) -> None:
    """One line of progress; the mark lets ``python -m pipelines run`` tell our lines from kfp's."""
    logger.info("selfheal: " + text, *values)


def _progress(what: str, done: int, of: int) -> None:
    """Ten lines at most, however long the work."""
    if of <= 10 or done == of or done % (of // 10) == 0:
        _say("%s: %d of %d", what, done, of)


def client(url: str, token_file: str = "", ca_file: str = "") -> PrometheusClient:
    """A client with the credentials given, or those mounted into the pod."""
    return PrometheusClient(
        url, token_file=mounted(token_file, "token", url), ca_file=mounted(ca_file, "ca.crt", url), timeout=60.0
    )


def _moment(text: str) -> datetime:
    """An ISO 8601 time as aware UTC; now when empty.

    Raises:
        WrongUse: When it is none.
    """
    if not text:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUse(f"{text!r} is no time: write for example 2026-11-23T03:00:00Z") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def probe_all(prometheus: PrometheusClient, end: str, target: Path) -> int:
    """Ask every query of the catalogue once and write what it returns, one line of JSON each.

    Returns:
        How many queries return data.

    Raises:
        NoData: When no metric of workloads does: then there is nothing to train on.
    """
    found = prometheus.probe(at=_moment(end))
    rows = [
        {"name": r.query.name, "form": r.form, "series": r.series, "age": r.age, "error": r.error, "core": r.query.core}
        for r in found
    ]
    target.write_text("".join(json.dumps(row) + "\n" for row in rows))
    live = [result for result in found if result.series]
    _say("%d of %d metrics return data (%d of the core 16)", len(live), len(found), sum(r.query.core for r in live))
    if not any(result.query.scope is Scope.WORKLOAD for result in live):
        raise NoData(
            f"Prometheus at {prometheus.url} has no metric of any workload at {_moment(end):%Y-%m-%d %H:%M} UTC: check "
            "that it scrapes cAdvisor and kube-state-metrics, and the time asked about"
        )
    return len(live)


def collect_windows(
    prometheus: PrometheusClient,
    namespaces: str,
    end: str,
    hours: float,
    step: float,
    target: Path,
) -> Gathered:
    """Collect the history of workloads and store it.

    Args:
        prometheus: To be asked.
        namespaces: Patterns with commas between them; all when empty.
        end: Moment of the newest sample, ISO 8601; now when empty.
        hours: How far to look back.
        step: Seconds between samples.
        target: Folder for the windows.

    Raises:
        NoData: Without workloads in these namespaces, or without enough history.
    """
    last = _moment(end)
    first = last - timedelta(hours=hours)
    found = prometheus.workload_history(first, last, step, scopes=(Scope.WORKLOAD,), progress=_progress)
    wanted = [part.strip() for part in namespaces.split(",") if part.strip()]
    gathered = gather(found, namespaces=wanted)
    for line in gathered.summary().splitlines():
        _say("%s", line)
    save_windows(target, gathered.windows)
    return gathered


def split_windows(source: Path, shard_size: int, training: Path, calibration: Path, held_back: Path) -> list[str]:
    """Cut stored windows in time into three, and those to train on into shards of workloads.

    Returns:
        The names of the shards.

    Raises:
        WrongUse: When ``shard_size`` is below 1.
    """
    from selfheal.ensemble import split
    from selfheal.shards import save_shards

    old, new = split(load_windows(source))
    middle, newest = halves(new)
    shards = save_shards(training, old, shard_size)
    save_windows(calibration, middle)
    save_windows(held_back, newest)
    for target, windows in ((training, old), (calibration, middle), (held_back, newest)):
        _say("%s: %d windows of %d rows at most", target.name, len(windows), max(len(window) for window in windows))
    _say("%d workloads train in %d shards of at most %d", len(old), len(shards), shard_size)
    return shards


def train_shard(training: Path, shard: str, seed: int, target: Path, workers: int | None = None) -> int:
    """Train all detectors for one shard of workloads.

    Args:
        training: Windows in shards.
        shard: Which one.
        seed: Of everything that is drawn by chance.
        target: Folder for the models, one folder a detector inside.
        workers: Processes; as many as there are cores by default. The models do not depend on it.

    Returns:
        How many workloads got a model of their own from every detector.

    Raises:
        WrongUse: When there is no such shard.
        PermanentError: When the numbers of a workload break a detector; names the workload.
        Unavailable: When a worker is killed, and the only one of the second try too.
    """
    from selfheal.detectors import DETECTORS
    from selfheal.fitting import cores
    from selfheal.shards import load_shard

    windows, pool = load_shard(training, shard)
    complete = {window.workload for window in windows}
    for detector in DETECTORS:
        members = _fit(detector, windows, pool, seed, cores() if workers is None else workers)
        members.save(target / detector)
        complete -= members.silent.keys()
        for workload, why in members.silent.items():
            _say("%s abstains for %s: %s", detector, workload, why)
    _say("shard %s: %d of %d workloads have models of all detectors", shard, len(complete), len(windows))
    return len(complete)


def _fit(
    detector: str, windows: Sequence[MetricWindow], pool: Sequence[MetricWindow], seed: int, workers: int
) -> Members:
    """One detector; a second time with one worker when one of several was killed, most likely for want of memory."""
    from selfheal.ensemble import Members

    try:
        return Members.fit(detector, windows, seed=seed, workers=workers, progress=_progress, pool=pool)
    except Unavailable as error:
        if min(workers, len(windows)) <= 1:
            raise
        _say("%s; trying once more with one", error)
        return Members.fit(detector, windows, seed=seed, workers=1, progress=_progress, pool=pool)


def assemble(shards: Sequence[Path], calibration: Path, seed: int, target: Path) -> Ensemble:
    """Merge the stored models of all shards, and calibrate them into a stored ensemble."""
    from selfheal.detectors import DETECTORS
    from selfheal.ensemble import Ensemble, Members
    from selfheal.shards import merge

    windows = load_windows(calibration)
    order = [window.workload for window in windows]
    members = [merge([Members.load(shard / detector) for shard in shards], order) for detector in DETECTORS]
    found = Ensemble.assemble(members, windows, seed=seed)
    found.save(target)
    _say("calibrated for %d workloads of %d shards", len(found.workloads), len(shards))
    return found


def judge(
    ensemble: Path, training: Path, held_back: Path, report: Path, page: Path, *, seed: int = 0
) -> dict[str, float]:
    """Evaluate a stored ensemble; writes the report as JSON and as a page.

    Returns:
        The figures that are known.
    """
    from selfheal.ensemble import Ensemble
    from selfheal.evaluation import describe, evaluate
    from selfheal.report_plots import html
    from selfheal.shards import load_all

    data = describe(load_all(training))
    found = evaluate(Ensemble.load(ensemble), load_windows(held_back), training=data, seed=seed, progress=_progress)
    report.write_text(found.model_dump_json(indent=1))
    page.write_text(html(found))
    for name, value in found.figures().items():
        _say("%s %.4g", name, value)
    return found.figures()


def register_models(
    tracking_uri: str, ensemble: Path, held_back: Path, report: Path, tags: Mapping[str, str], *, shares: str = ""
) -> str:
    """Register a stored ensemble with its members, unless it shares those of another version; returns its version."""
    from selfheal.ensemble import Ensemble
    from selfheal.registry import Registry

    found = Ensemble.load(ensemble)
    judged = Report.model_validate_json(report.read_text())
    newest = load_windows(held_back)[0]
    members = [] if shares else list(found.members.values())
    origin = {**tags, "selfheal.shares_detectors_of": shares} if shares else tags
    version = Registry(tracking_uri).register(found, members, judged, tags=origin, newest=newest, shares=shares)
    _say("%s version %s is the challenger", MODEL_NAME, version)
    return version


def decide(tracking_uri: str, version: str, held_back: Path, report: Path, seed: int) -> tuple[bool, str]:
    """Judge the champion on the challenger's data, decide, and write the verdict to the challenger's version.

    Returns:
        Whether the challenger may be promoted, and a sentence that says why.
    """
    from selfheal.evaluation import better
    from selfheal.registry import Registry

    registry = Registry(tracking_uri)
    challenger = Report.model_validate_json(report.read_text())
    champion = registry.champion()
    theirs, note = (None, "") if champion is None else _judge_champion(*champion, load_windows(held_back), seed)
    accepted, reason = better(challenger, theirs)
    registry.record_verdict(version, accepted=accepted, sentence=reason + note, champion=theirs)
    _say("%s%s", reason, note)
    return accepted, reason + note


def _judge_champion(
    champion: Ensemble, version: str, windows: Sequence[MetricWindow], seed: int
) -> tuple[Report | None, str]:
    """The champion's report on these windows, or why there can be none."""
    from selfheal.evaluation import evaluate

    try:
        return evaluate(champion, windows, seed=seed), ""
    except BadRequest as error:  # other metrics or another step: it cannot serve this data either
        return None, f" Champion version {version} cannot judge this data: {error}"


def promote_when_accepted(tracking_uri: str, version: str, verdict: Mapping[str, object]) -> str:
    """Promote a version, or leave the champion in place.

    Args:
        tracking_uri: Of MLflow.
        version: Of the challenger.
        verdict: ``accepted`` and ``reason``.

    Returns:
        The version in service afterwards; empty when there is none.
    """
    from selfheal.registry import CHAMPION, Registry

    registry = Registry(tracking_uri)
    if verdict["accepted"] is True:
        registry.promote(version)
        _say("%s version %s is the champion", MODEL_NAME, version)
        return version
    try:
        found = registry.resolve(f"models:/{MODEL_NAME}@{CHAMPION}")
    except NoData:
        found = ""
    _say("version %s was not promoted, in service is %s. %s", version, found or "nothing", verdict["reason"])
    return found


def smoke(tracking_uri: str, endpoint_url: str, in_service: str, held_back: Path) -> str:
    """Ask what is in service about a real window.

    Returns:
        What was answered, in a sentence.

    Raises:
        NoData: When nothing is in service.
        Unavailable: When the endpoint does not answer with that version in ENDPOINT_PATIENCE seconds, or cannot tell.
    """
    from selfheal.mlmodel import example
    from selfheal.registry import Registry

    if not in_service:
        raise NoData(
            f"no version of {MODEL_NAME} is in service: the first model was refused, see its verdict in MLflow"
        )
    ensemble = Registry(tracking_uri).load_ensemble(f"models:/{MODEL_NAME}/{in_service}")
    instance = example(ensemble, load_windows(held_back)[0])
    if endpoint_url:
        answer = _ask_endpoint(endpoint_url, instance, in_service)
    else:
        answer = _checked(ensemble.predict([instance])[0], in_service, "the model in the registry")
    where = endpoint_url or "the registry"
    sentence = (
        f"version {answer.model.version} from {where} answers for {answer.workload}: anomaly {answer.anomaly}, "
        f"confidence {answer.confidence:.2f}, votes {answer.votes}"
    )
    _say("%s", sentence)
    return sentence


def _checked(answer: Prediction, version: str, where: str) -> Prediction:
    if answer.model.version != version:
        raise Unavailable(f"{where} answers with version {answer.model.version or 'unknown'}, expected {version}")
    if answer.anomaly is None or answer.confidence is None:
        raise Unavailable(f"{where} cannot tell about {answer.workload}: {answer.message}")
    return answer


def _ask_endpoint(url: str, instance: Instance, version: str) -> Prediction:
    """Ask until the endpoint has taken the version over."""
    import httpx
    from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

    patience = stop_after_delay(ENDPOINT_PATIENCE)

    @retry(retry=retry_if_exception_type(Unavailable), stop=patience, wait=wait_fixed(2), reraise=True)
    def ask() -> Prediction:
        where = f"the endpoint at {url}"
        try:
            found = httpx.post(
                f"{url.rstrip('/')}/v1/models/{MODEL_NAME}:predict",
                content=to_request([instance]),
                headers={"Content-Type": "application/json"},
                timeout=30,
            )
            found.raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable(f"{where} does not answer: {error}") from None
        return _checked(parse_predictions(found.json())[0], version, where)

    return ask()
