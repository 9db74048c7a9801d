"""notify-only: tell people what was found; touch nothing."""

from __future__ import annotations

from controller.model import PlanRequest
from selfheal.policy import Action
from selfheal.remediation import Change


class NotifyOnly:
    """A change without operations; its note is the message."""

    name: Action = Action.NOTIFY_ONLY
    rights: tuple[tuple[str, str, str], ...] = ()

    def plan(self, request: PlanRequest) -> Change:
        """The message, in a change that changes nothing; never refuses."""
        return Change(note=f"{request.workload.ref.workload}: {request.anomaly_type}. {_finding(request)}".rstrip())


def _finding(request: PlanRequest) -> str:
    if request.symptom is not None:
        return request.symptom.message
    if request.prediction is None:
        return ""
    metrics = [
        f"{top.name} is {_number(top.observed)}, expected {_number(top.expected)}"
        for top in request.prediction.top_metrics
    ]
    return "; ".join([*filter(None, [request.prediction.message]), *metrics])


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
