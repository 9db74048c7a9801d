"""An API server in a dictionary: enough of it to apply planned operations, with the real jsonpatch, and look."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import jsonpatch

from controller.model import PlanRequest, Resource, Symptom, Workload
from selfheal.policy import Action, AnomalyType, Parameters
from selfheal.protocol import Prediction
from selfheal.remediation import Attempt, AttemptResult, Change, Operation
from tests.unit.controller.objects import NOW

MARK = "rem-0123456789abcdef0123/1"


def request(
    target: Workload,
    anomaly_type: AnomalyType = AnomalyType.CRASH_LOOP_BACK_OFF,
    *,
    symptom: Symptom | None = None,
    prediction: Prediction | None = None,
    bumps: int = 0,
    **parameters: Any,
) -> PlanRequest:
    """A plan request; ``bumps`` raises of this incident were written; ``parameters`` are the policy's, by action."""
    raised = Attempt(action=Action.ADJUST_RESOURCES, started_time=NOW, result=AttemptResult.UNDONE)
    return PlanRequest(
        workload=target,
        parameters=Parameters.model_validate(parameters),
        anomaly_type=anomaly_type,
        symptom=symptom,
        prediction=prediction,
        attempt=bumps + 1,
        mark=MARK,
        earlier=(raised,) * bumps,
    )


class Server:
    """Holds the objects of a workload; a write without its preconditions fails the test."""

    def __init__(self, target: Workload) -> None:
        everything = [target.resource, *target.pods, *target.autoscalers]
        self.objects = {(one["kind"], one["metadata"]["name"]): copy.deepcopy(one) for one in everything}
        self.evicted: list[str] = []

    def write(self, operations: Iterable[Operation]) -> None:
        """Write operations in order."""
        for operation in operations:
            key = (operation.kind, operation.name)
            found = self.objects[key]
            assert found["metadata"]["uid"] == operation.uid
            assert operation.resource_version in ("", found["metadata"]["resourceVersion"])
            if operation.verb == "Evict":
                self.evicted.append(self.objects.pop(key)["metadata"]["name"])
                continue
            self.objects[key] = _patched(found, operation)
            self.objects[key]["metadata"]["resourceVersion"] += "1"

    def state(self) -> dict[tuple[str, str], Resource]:
        """All objects as the server would store them: without empty annotations."""
        return {key: stored(found) for key, found in self.objects.items()}


def _patched(found: Resource, operation: Operation) -> Resource:
    patch = list(operation.patch)
    if operation.verb == "Resize":
        assert all("/resources/" in step["path"] for step in patch if step["op"] != "test")
    if operation.verb != "Scale":
        patched: Resource = jsonpatch.apply_patch(found, patch)
        return patched
    # The Scale object leaves out replicas where they are zero.
    replicas = found["spec"]["replicas"]
    scale: Resource = jsonpatch.apply_patch({"spec": {"replicas": replicas} if replicas else {}}, patch)
    scaled: Resource = found | {"spec": found["spec"] | {"replicas": scale["spec"].get("replicas", 0)}}
    return scaled


def stored(resource: Resource) -> Resource:
    """An object without what changes with every write, and without empty maps, which no server stores."""
    found: Resource = pruned(resource)
    found["metadata"].pop("resourceVersion", None)
    return found


def pruned(value: Any) -> Any:
    """A value without empty maps."""
    if isinstance(value, list):
        return [pruned(one) for one in value]
    if not isinstance(value, dict):
        return value
    inner = {key: pruned(one) for key, one in value.items()}
    return {key: one for key, one in inner.items() if one != {}}


def there_and_back(target: Workload, change: Change) -> Resource:
    """Apply a change, see what is expected, take it back and see the original; returns the target in between."""
    server = Server(target)
    before = server.state()
    server.write(change.operations)
    key = (target.ref.kind, target.ref.name)
    between = copy.deepcopy(server.objects[key])
    tests = [{"op": "test", "path": path, "value": value} for path, value in change.expected.items()]
    jsonpatch.apply_patch(between, tests)
    server.write(change.undo)
    kept = {name: found for name, found in before.items() if name[1] not in server.evicted}
    assert server.state() == kept
    return between
