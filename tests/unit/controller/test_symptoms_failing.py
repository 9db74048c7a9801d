"""What shows by itself that it does not work, as a replica that stands by counts it, and what is merely new."""

import pytest

from controller.model import Resource
from controller.symptoms import is_failing, might_be_sick
from tests.unit.controller import objects, pods
from tests.unit.controller.objects import NOW, ago

OWNER = objects.replica_set(objects.deployment())
PREPARED = pods.status("setup", state=pods.terminated(0, at=ago(minutes=1)), ready=True)
LONG_AGO = pods.terminated(1, at=ago(days=1))


def turned(pod: Resource) -> Resource:
    """A pod that is not ready since a minute ago."""
    rest = [one for one in pod["status"]["conditions"] if one["type"] != "Ready"]
    since = objects.condition("Ready", "False", "ContainersNotReady", since=ago(minutes=1))
    return pod | {"status": pod["status"] | {"conditions": [*rest, since]}}


@pytest.mark.parametrize(
    "pod",
    [
        pods.pod(OWNER, statuses=[pods.crashlooping()]),
        pods.pod(OWNER, statuses=[pods.imagepull()], phase="Pending"),
        pods.pod(OWNER, statuses=[pods.running(ready=False, last=pods.terminated(1))]),
        pods.pod(OWNER, unschedulable="0/3 nodes are available"),
        turned(pods.pod(OWNER, statuses=[pods.running(ready=False)])),
    ],
    ids=["crash loop", "image", "died and is not ready again", "no node", "was ready before"],
)
def test_a_pod_that_does_not_work_shows_it(pod: Resource) -> None:
    assert is_failing(pod)
    assert might_be_sick(pod)


@pytest.mark.parametrize(
    "pod",
    [
        pods.pod(OWNER),
        pods.pod(OWNER, statuses=[pods.running(restarts=3, last=LONG_AGO)]),
        pods.pod(OWNER, statuses=[pods.waiting(reason="PodInitializing")], phase="Pending"),
        turned(pods.pod(OWNER, statuses=[pods.waiting(reason="ContainerCreating")], phase="Pending")),
        pods.pod(OWNER, statuses=[pods.running(ready=False)], init_statuses=[PREPARED]),
        pods.pod(OWNER, statuses=[pods.crashlooping()], deleted=NOW),
    ],
    ids=["well", "died once, long ago", "being prepared", "being created", "not ready yet", "on its way out"],
)
def test_a_pod_that_is_new_or_well_does_not(pod: Resource) -> None:
    assert not is_failing(pod)


def test_of_a_workload_that_only_lacks_ready_pods_these_have_to_tell() -> None:
    assert not is_failing(objects.deployment(ready=0))
    late = objects.condition("Progressing", "False", "ProgressDeadlineExceeded")
    assert is_failing(objects.deployment(ready=0, conditions=[late]))
