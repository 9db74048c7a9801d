"""notify-only."""

from __future__ import annotations

from controller.actions import ACTIONS
from controller.model import Symptom
from selfheal.policy import Action, AnomalyType
from selfheal.protocol import Prediction, TopMetric
from tests.unit.controller.actions.server import request
from tests.unit.controller.objects import NOW, deployment, workload

PLANNER = ACTIONS[Action.NOTIFY_ONLY]


def test_it_changes_nothing_and_says_what_kubernetes_reports() -> None:
    symptom = Symptom(AnomalyType.POD_PENDING, "Taint", "0/1 nodes are available: 1 had a taint", NOW)
    change = PLANNER.plan(request(workload(deployment()), AnomalyType.POD_PENDING, symptom=symptom))
    assert (change.operations, change.undo, change.diff, change.expected) == ((), (), "", {})
    assert change.note == "shop/Deployment/cart: PodPending. 0/1 nodes are available: 1 had a taint"


def test_it_names_the_metrics_of_a_prediction_with_their_numbers() -> None:
    tops = (
        TopMetric(name="pod_memory_usage", observed=8.1e8, expected=5e8, share=0.7),
        TopMetric(name="pods_failed", observed=None, expected=None, share=0.3),
    )
    prediction = Prediction(workload="shop/Deployment/cart", anomaly=True, confidence=0.9, top_metrics=tops)
    change = PLANNER.plan(request(workload(deployment()), AnomalyType.METRIC_ANOMALY, prediction=prediction))
    assert change.note == (
        "shop/Deployment/cart: MetricAnomaly. pod_memory_usage is 8.1e+08, expected 5e+08; "
        "pods_failed is unknown, expected unknown"
    )


def test_it_has_no_right_to_write_anything() -> None:
    assert PLANNER.rights == ()
