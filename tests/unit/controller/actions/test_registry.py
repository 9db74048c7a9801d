"""What all actions have in common: a line in ACTIONS, a heading in the docs, rights that cover what they plan."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import controller.actions
from controller.actions import ACTIONS
from controller.model import PlanRequest
from selfheal.policy import Action, AnomalyType
from selfheal.remediation import Operation
from tests.unit.controller.actions.server import request
from tests.unit.controller.actions.test_adjust_resources import shop
from tests.unit.controller.actions.test_rollback import store
from tests.unit.controller.actions.test_scale import hpa
from tests.unit.controller.objects import deployment, replica_set, workload
from tests.unit.controller.pods import crashlooping, pod

DOCS = Path(__file__).parents[4] / "docs" / "actions.md"
SUBRESOURCE = {"Patch": "", "Resize": "/resize", "Evict": "/eviction", "Scale": "/scale"}


def right_of(operation: Operation) -> tuple[str, str, str]:
    """The right that a write needs."""
    group = operation.api_version.rpartition("/")[0]
    resource = operation.kind.lower() + "s" + SUBRESOURCE[operation.verb]
    return group, resource, "create" if operation.verb == "Evict" else "patch"


BROKEN = workload(deployment(), pods=[pod(replica_set(deployment()), 1, statuses=[crashlooping()])])
REQUESTS: list[tuple[Action, PlanRequest]] = [
    (Action.ROLLBACK, request(store())),
    (Action.RESTART, request(store())),
    (Action.RESTART, request(BROKEN, restart={"strategy": "Evict"})),
    (Action.ADJUST_RESOURCES, request(shop(), AnomalyType.OOM_KILLED)),
    (Action.SCALE, request(workload(deployment()))),
    (Action.SCALE, request(workload(deployment(replicas=4), autoscalers=(hpa(4),)))),
    (Action.NOTIFY_ONLY, request(workload(deployment()))),
]


def test_every_action_of_the_api_has_its_line() -> None:
    assert set(ACTIONS) == set(Action)
    assert all(planner.name == action for action, planner in ACTIONS.items())


def test_every_file_of_the_folder_has_its_line() -> None:
    files = {path.stem for path in Path(controller.actions.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == {type(planner).__module__.rpartition(".")[2] for planner in ACTIONS.values()}


@pytest.mark.parametrize(("action", "asked"), REQUESTS)
def test_rights_cover_every_write_that_is_planned_and_its_undo(action: Action, asked: PlanRequest) -> None:
    change = ACTIONS[action].plan(asked)
    needed = {right_of(operation) for operation in (*change.operations, *change.undo)}
    assert needed <= set(ACTIONS[action].rights)


def test_no_action_asks_for_everything() -> None:
    rights = [right for planner in ACTIONS.values() for right in planner.rights]
    assert all("*" not in "".join(right) and right[2] in ("patch", "create") for right in rights)
    assert not any("secret" in resource for _, resource, _ in rights)


def test_every_action_has_a_heading_that_says_what_it_refuses_and_what_undoes_it() -> None:
    sections = re.split(r"^## (.+)$", DOCS.read_text(), flags=re.MULTILINE)[1:]
    found = dict(zip(sections[::2], sections[1::2], strict=True))
    assert set(found) == {action.value for action in Action}
    for action in set(Action) - {Action.NOTIFY_ONLY}:
        assert all(word in found[action.value] for word in ("**Parameters**", "**Refuses**", "**Undone by**", "```"))


def test_every_refusal_in_the_code_is_documented() -> None:
    text = DOCS.read_text()
    folder = Path(controller.actions.__file__).parent
    code = "".join(path.read_text() for path in [*folder.glob("*.py"), *folder.parent.glob("[eopq]*.py")])
    reasons = set(re.findall(r'Refused\(\s*"([A-Za-z]+)"', code)) | set(
        re.findall(r'Ceiling\([^"\n]*"([A-Za-z]+)"', code)
    )
    assert {"NoHealthyRevision", "OverQuota"} <= reasons
    assert {reason for reason in reasons if f"`{reason}`" not in text} == set()
