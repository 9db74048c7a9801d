"""Who is told what when nothing heals: one Warning Event ``Escalated``, with the reason and what a person should do."""

from typing import Any

import pytest

from controller.causes import CAUSES
from controller.cluster.client import Api
from controller.cluster.records import Records
from controller.escalation import escalation
from controller.metrics import Metrics
from controller.model import Decision
from controller.notify.base import NoticeQueue
from controller.telling import Teller
from selfheal.policy import Action
from selfheal.remediation import Attempt, AttemptResult, Outcome, Remediation
from tests.unit.controller.objects import NOW
from tests.unit.controller.records import bad_rollout, policy, remediation


def ended(outcome: Outcome, reason: str, symptom: str = "Taint", *results: AttemptResult) -> Remediation:
    """A Remediation that ended so."""
    found = remediation(bad_rollout().ref, policy(), outcome=outcome, reason=reason)
    anomaly = found.spec.anomaly.model_copy(update={"symptom": symptom, "message": "pod cart-1 finds no node"})
    attempts = tuple(Attempt(action=Action.ROLLBACK, started_time=NOW, result=one) for one in results)
    status = found.status.model_copy(update={"attempts": attempts, "message": "nothing helped"})
    return found.model_copy(
        update={"spec": found.spec.model_copy(update={"anomaly": anomaly}), "status": status, "uid": "uid-rem"}
    )


@pytest.mark.parametrize(
    "found",
    [
        ended(Outcome.SKIPPED, "NoSafeAction"),
        ended(Outcome.SKIPPED, "NoHealthyRevision", "ProgramError", AttemptResult.REFUSED),
        ended(Outcome.FAILED, "RetriesExhausted", "ProgramError", AttemptResult.UNDONE),
        ended(Outcome.FAILED, "ClearedByItself", "LimitTooLow", AttemptResult.UNDONE),
        ended(Outcome.ERROR, "UndoFailed", "ProgramError", AttemptResult.FAILED),
        ended(Outcome.INCONCLUSIVE, "CannotTell", "ProgramError", AttemptResult.INCONCLUSIVE),
        ended(Outcome.OBSERVED, "Notified", "Taint"),
    ],
    ids=lambda one: f"{one.status.outcome}-{one.status.reason}",
)
def test_an_end_that_leaves_the_trouble_says_why_and_what_a_person_should_do(found: Remediation) -> None:
    text = escalation(found)
    assert found.status.reason in text
    assert "pod cart-1 finds no node" in text
    assert CAUSES[found.spec.anomaly.symptom].advice in text


@pytest.mark.parametrize(
    "found",
    [
        ended(Outcome.SUCCESSFUL, "Verified", "ProgramError", AttemptResult.SUCCESSFUL),
        ended(Outcome.SKIPPED, "ClearedByItself"),
        ended(Outcome.SKIPPED, "OutsideWindow"),
        ended(Outcome.OBSERVED, "ObserveMode"),
        ended(Outcome.OBSERVED, "Notified", "ProgramError"),
        ended(Outcome.DENIED, "Denied", "ProgramError"),
    ],
    ids=lambda one: f"{one.status.outcome}-{one.status.reason}",
)
def test_an_end_that_leaves_nothing_to_a_person_calls_nobody(found: Remediation) -> None:
    assert escalation(found) == ""


class Server(Api):
    """Takes what is written; there is no server behind it."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def request(self, *args: Any, **kwargs: Any) -> Any:
        assert args[0] == "POST"
        self.events.append(kwargs["body"])
        return kwargs["body"]


def test_it_is_told_once_as_a_warning_event_on_the_target_and_on_the_policy() -> None:
    server = Server()
    teller = Teller(Records(server, lambda: NOW), NoticeQueue(), Metrics(), lambda: 0.0)
    closed = ended(Outcome.SKIPPED, "NoSafeAction")
    still_open = closed.model_copy(update={"status": remediation(bad_rollout().ref, policy()).status})
    teller.moved(still_open, closed, NOW)
    teller.moved(closed, closed, NOW)
    told = [one for one in server.events if one["reason"] == "Escalated"]
    assert [(one["regarding"]["kind"], one["type"]) for one in told] == [
        ("Deployment", "Warning"),
        ("SelfHealingPolicy", "Warning"),
    ]
    assert "toleration" in told[0]["note"]


def test_after_the_end_of_a_remediation_its_incident_is_kept_quiet_about_but_other_refusals_are_told() -> None:
    server = Server()
    teller = Teller(Records(server, lambda: NOW), NoticeQueue(), Metrics(), lambda: 0.0)
    for reason in ("RetriesExhausted", "AlreadyHandled"):
        teller.refused(bad_rollout(), Decision(None, policy(), reason, "nothing more", refused=True))
    assert server.events == []
    teller.refused(bad_rollout(), Decision(None, policy(), "OutsideWindow", "not now", refused=True))
    assert {one["reason"] for one in server.events} == {"OutsideWindow"}
