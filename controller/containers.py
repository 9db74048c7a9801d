"""What one container's status says: signs, from which controller/symptoms.py makes symptoms. Pure.

The texts matched here are those of kubelet, containerd and CRI-O; they are data, never instructions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.facts import (
    condition,
    created,
    death_before,
    died_at,
    last_death,
    lifetime,
    moment,
    quoted,
    since,
    state,
)
from controller.model import Resource
from controller.quantities import limit_of, render
from selfheal.policy import AnomalyType

RECENT = timedelta(minutes=10)
"""A container that died longer ago, and runs, is well: Kubernetes forgets its back-off after the same time."""
PROOF = timedelta(minutes=1)
"""The longest a container has to run after a death to count as well; less where it lived shorter before."""
MARGIN = timedelta(seconds=10)
BRIEF = timedelta(seconds=10)
"""Two lives in a row that failed sooner than this are a crash loop, though the kubelet does not say so yet.

It holds such a container back from the second end on, and shows the reason when the back-off is over, 10 s later.
"""
PROBE_GRACE = timedelta(seconds=30)
"""Beyond what its own probes allow, a container may take this long to get ready."""
SHORT_GRACE = timedelta(seconds=5)
"""The same where older pods show how long a start takes."""
PULL_GRACE = timedelta(seconds=30)

IMAGE_REASONS = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})
CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
WAITING_REASONS = IMAGE_REASONS | CONFIG_REASONS | {"CrashLoopBackOff"}

_EXITS = {
    0: "Completed",
    1: "ProgramError",
    2: "WrongUse",
    126: "NotExecutable",
    127: "CommandNotFound",
    134: "Aborted",
    137: "Killed",
    139: "Segfault",
    143: "Terminated",
}
_STOPPED = (137, 143)  # SIGKILL and SIGTERM, which is how a probe's kill looks
_NO_COMMAND = ("executable file not found", "no such file or directory")
_NOT_EXECUTABLE = ("permission denied", "exec format error")
_IMAGE_TEXTS = (
    ("InvalidImageName", ("couldn't parse image", "invalid reference format", "invalidimagename")),
    ("ImageNotFound", ("not found", "manifest unknown", "no such image", "does not exist")),
    ("ImageUnauthorized", ("unauthorized", "authorization failed", "forbidden", "denied", "no basic auth")),
    ("RegistryUnknown", ("no such host",)),
    ("RegistryUnavailable", ("i/o timeout", "connection refused", "tls", "eof", "unavailable", "dial")),
)
_CONFIG_TEXTS = (
    ("MissingKey", ("couldn't find key", "references non-existent config key", "references non-existent secret key")),
    ("MissingConfigMap", ("configmap",)),
    ("MissingSecret", ("secret",)),
    ("BadSecurityContext", ("runasnonroot", "run as non-root", "numeric user", "will run as root")),
    ("BadMount", ("mount", "not a directory")),
)


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that one pod shows.

    Attributes:
        type, cause, message: As in Symptom.
        pod: The pod.
        container: Name of the container, if one shows it.
        shown: As in Symptom.
    """

    type: AnomalyType
    cause: str
    message: str
    pod: Resource
    container: str = ""
    shown: datetime | None = None


def signs(
    pod: Resource, spec: Resource, status: Resource, now: datetime, usual: timedelta | None = None
) -> Iterator[Sign]:
    """All that one container of a pod shows.

    Args:
        pod: Its pod.
        spec: The container's spec; empty when the pod's spec does not have it.
        status: Its status.
        now: Aware.
        usual: How long pods of older revisions took from their start to being ready; None where there are none.
    """
    waiting = state(status, "waiting")
    reason, text = str(waiting.get("reason", "")), quoted(waiting.get("message"))
    name = str(status["name"])
    if reason in IMAGE_REASONS and not (reason == "ErrImagePull" and _may_pass(text, pod, now)):
        cause = _image_cause(reason, text)
        yield Sign(AnomalyType.IMAGE_PULL_BACK_OFF, cause, f"{reason} of {name}: {text}", pod, name)
    elif reason in CONFIG_REASONS and not _start_error(status):
        yield Sign(AnomalyType.CONFIG_ERROR, _by_text(_CONFIG_TEXTS, text, "BadConfig"), f"{reason}: {text}", pod, name)
    else:
        yield from _deaths(pod, spec, status, now)
        yield from _probes(pod, spec, status, now, usual)


def _may_pass(text: str, pod: Resource, now: datetime) -> bool:
    """Whether a first failed pull may be a passing fault of the network: Kubernetes tries again by itself."""
    return _by_text(_IMAGE_TEXTS, text, "") in ("", "RegistryUnavailable") and now - created(pod) < PULL_GRACE


def _image_cause(reason: str, text: str) -> str:
    named = {"InvalidImageName": "InvalidImageName", "ErrImageNeverPull": "ImageNeverPull"}
    return named.get(reason) or _by_text(_IMAGE_TEXTS, text, "ImagePull")


def _by_text(table: tuple[tuple[str, tuple[str, ...]], ...], text: str, otherwise: str) -> str:
    lower = text.lower()
    return next((cause for cause, words in table if any(word in lower for word in words)), otherwise)


def _start_error(status: Resource) -> str:
    """The cause where the container's command cannot be started at all; empty otherwise."""
    death = last_death(status)
    text = f"{death.get('message', '')} {state(status, 'waiting').get('message', '')}".lower()
    if death.get("exitCode") not in (126, 127, 128) and "exec" not in text:
        return ""
    if any(word in text for word in _NO_COMMAND) and "exec" in text:
        return "CommandNotFound"
    return "NotExecutable" if any(word in text for word in _NOT_EXECUTABLE) and "exec" in text else ""


def _deaths(pod: Resource, spec: Resource, status: Resource, now: datetime) -> Iterator[Sign]:
    """OOMKilled and CrashLoopBackOff, from how the container ended."""
    death = last_death(status)
    reason = state(status, "waiting").get("reason")
    backing_off = reason == "CrashLoopBackOff" or reason in CONFIG_REASONS or _is_held_back(pod, status)
    if not death and not backing_off:
        return
    shown = None if not state(status, "running") else died_at(status)
    name, restarts = str(status["name"]), int(status.get("restartCount") or 0)
    if death.get("reason") == "OOMKilled" and (backing_off or (restarts and _is_fresh(status, now))):
        limit = limit_of(spec, "memory")
        cause, words = ("LimitTooLow", render("memory", limit)) if limit else ("NoLimit", "none")
        message = f"{name} was killed for its memory, {restarts} restarts (limit {words})"
        yield Sign(AnomalyType.OOM_KILLED, cause, message, pod, name, shown)
    if backing_off or (restarts >= 2 and _is_fresh(status, now) and _is_bad(death, pod)):
        message = f"{name} ended with {_how(death)}, {restarts} restarts"
        yield Sign(AnomalyType.CRASH_LOOP_BACK_OFF, _crash_cause(spec, status), message, pod, name, shown)


def _is_held_back(pod: Resource, status: Resource) -> bool:
    """Whether a container that is meant to run on failed twice in a row at once, and waits to be started again."""
    ends = (state(status, "terminated"), death_before(status))
    return _runs_on(pod) and all(end.get("exitCode") and lifetime(end) < BRIEF for end in ends)


def _runs_on(pod: Resource) -> bool:
    return bool((pod.get("spec") or {}).get("restartPolicy", "Always") == "Always")


def _is_bad(death: Resource, pod: Resource) -> bool:
    """Whether an end is a failure; one with success is, where the container is meant to run on."""
    return bool(death.get("exitCode")) or _runs_on(pod)


def _how(death: Resource) -> str:
    if not death:
        return "no exit code that Kubernetes remembers"
    return f"exit code {death.get('exitCode')} ({quoted(death.get('reason')) or 'no reason'})" + (
        f": {quoted(death['message'])}" if death.get("message") else ""
    )


def _crash_cause(spec: Resource, status: Resource) -> str:
    death = last_death(status)
    code = death.get("exitCode")
    if death.get("reason") == "OOMKilled":
        return "MemoryLimit"
    if code in _STOPPED and _killing_probe(spec):
        return "KilledByProbe"
    return _start_error(status) or _EXITS.get(code if isinstance(code, int) else -1, "OtherExit")


def _is_fresh(status: Resource, now: datetime) -> bool:
    """Whether the last death still counts, though the container may run again.

    One that runs and is ready has to outlive its last life to be well again (one minute at the most): a program that
    dies after half a minute each time is not well for that half minute.
    """
    died = died_at(status)
    if died is None or now - died > RECENT:
        return False
    started = moment(state(status, "running").get("startedAt"))
    if started is None or not status.get("ready"):
        return True
    if int(status.get("restartCount") or 0) < 2:
        return False  # it came back by itself, and once is no pattern
    before = moment(last_death(status).get("startedAt")) or died
    return now - started < min(died - before, PROOF) + MARGIN


def _killing_probe(spec: Resource) -> str:
    """The cause that a probe's kill would have; empty for a container that no probe can kill."""
    if spec.get("livenessProbe"):
        return "LivenessFailing"
    return "StartupFailing" if spec.get("startupProbe") else ""


def _probes(pod: Resource, spec: Resource, status: Resource, now: datetime, usual: timedelta | None) -> Iterator[Sign]:
    name, death = str(status["name"]), last_death(status)
    killed = death.get("exitCode") in _STOPPED and death.get("reason") != "OOMKilled"
    restarts = int(status.get("restartCount") or 0)
    if killed and (cause := _killing_probe(spec)) and restarts >= 2 and _is_fresh(status, now):
        cause = "StartupFailing" if spec.get("startupProbe") and not status.get("started") else cause
        shown = None if not state(status, "running") else died_at(status)
        message = f"{name} was stopped by its probe {restarts} times (exit code {death['exitCode']})"
        yield Sign(AnomalyType.PROBE_FAILURE, cause, message, pod, name, shown)
        return
    started = moment(state(status, "running").get("startedAt"))
    if started is None or status.get("ready") or not status.get("started") or not spec.get("readinessProbe"):
        return
    waited = now - max(started, since(condition(pod, "Ready"), started))
    if waited > _patience(spec["readinessProbe"], pod, started, usual):
        message = (
            f"{name} runs for {int((now - started).total_seconds())} s and is not ready: its readiness probe fails"
        )
        yield Sign(AnomalyType.PROBE_FAILURE, "ReadinessFailing", message, pod, name)


def _patience(probe: Resource, pod: Resource, started: datetime, usual: timedelta | None) -> timedelta:
    """How long a container may be not ready: a start, or one failure of the probe that was called already.

    A start may take what the probe itself allows, or half as long again as older pods took.
    """
    if since(condition(pod, "Ready"), started) > started + PROBE_GRACE:
        return PROBE_GRACE  # it was ready once: the probe has failed often enough to be believed
    every, often = int(probe.get("periodSeconds") or 10), int(probe.get("failureThreshold") or 3)
    allowed = timedelta(seconds=int(probe.get("initialDelaySeconds") or 0) + every * often)
    return allowed + PROBE_GRACE if usual is None else max(allowed, 1.5 * usual) + SHORT_GRACE
