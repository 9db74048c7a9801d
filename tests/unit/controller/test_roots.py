"""Dependants are linked to the object that broke first."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controller.model import Resource, Symptom, Workload
from controller.roots import FRESH, Case, Roots, Thing, root_of
from controller.symptoms import symptoms
from tests.unit.controller import objects, pods
from tests.unit.controller.objects import NOW, ago


def sick(name: str, status: Resource, born: datetime = NOW, spec: Resource | None = None, **container: Any) -> Workload:
    body = objects.template(objects.container(**container), labels={"app": name}, **(spec or {}))
    found = objects.deployment(name, replicas=1, ready=0, pod_template=body)
    owner = objects.replica_set(found, 1, replicas=1)
    return objects.workload(found, [pods.pod(owner, statuses=[status], created=born)], [owner])


def told(roots: Roots, workload: Workload, now: datetime = NOW) -> str:
    found: tuple[Symptom, ...] = roots.linked(workload, symptoms(workload, now), now)
    return found[0].message if found else ""


NO_CONFIG = pods.waiting(reason="CreateContainerConfigError", message='configmap "app" not found')
FROM_CONFIG = [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "keys"}}]


def test_workloads_that_miss_the_same_config_map_name_it_as_their_root() -> None:
    roots = Roots()
    assert "root" not in told(roots, sick("cart", NO_CONFIG, envFrom=FROM_CONFIG))
    text = told(roots, sick("orders", NO_CONFIG, envFrom=FROM_CONFIG))
    assert "The root is ConfigMap shop/app: Deployment shop/cart fail for it too" in text
    assert "keys" not in text


def test_a_registry_that_does_not_answer_is_the_root_of_all_that_pull_from_it() -> None:
    roots = Roots()
    silent = pods.waiting(reason="ImagePullBackOff", message="dial tcp: i/o timeout")
    told(roots, sick("cart", silent, image="registry.example:5000/cart:1"))
    assert "The root is registry registry.example:5000" in told(
        roots, sick("orders", silent, image="registry.example:5000/orders:1")
    )
    assert "root" not in told(roots, sick("other", silent, image="other.example/x:1"))


def test_who_calls_a_workload_that_broke_before_it_is_its_dependant() -> None:
    roots = Roots()
    database = sick("store", pods.crashlooping(), ago(minutes=5))
    told(roots, database)
    caller = sick("cart", pods.crashlooping(), ago(minutes=1), env=[{"name": "DB", "value": "tcp://store:5432/x"}])
    assert "It calls Deployment shop/store, which broke before it" in told(roots, caller)
    assert "calls" not in told(roots, database), "the first one depends on nobody"


def test_of_a_chain_of_calls_the_one_that_broke_first_is_named() -> None:
    roots = Roots()
    told(roots, sick("store", pods.crashlooping(), ago(minutes=9)))
    told(roots, sick("cart", pods.crashlooping(), ago(minutes=5), env=[{"name": "A", "value": "store"}]))
    front = sick("front", pods.crashlooping(), ago(minutes=1), args=["--backend=http://cart.shop.svc:80"])
    assert "It calls Deployment shop/store" in told(roots, front)


def test_what_has_recovered_or_was_seen_long_ago_is_no_root() -> None:
    roots = Roots()
    told(roots, sick("store", pods.crashlooping(), ago(minutes=5)))
    caller = sick("cart", pods.crashlooping(), ago(minutes=1), env=[{"name": "A", "value": "store"}])
    assert "calls" not in told(roots, caller, NOW + FRESH + timedelta(seconds=1))
    told(roots, sick("store", pods.crashlooping(), ago(minutes=5)))
    told(roots, sick("store", pods.running()))
    assert "calls" not in told(roots, caller)


def test_a_quota_and_a_claim_are_roots_of_all_that_wait_for_them() -> None:
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"pods": "1"}}, "status": {"used": {"pods": "1"}}}
    roots = Roots()
    for name in ("a", "b"):
        text = told(roots, objects.workload(objects.stateful_set(name, ready=0), quotas=(quota,)))
    assert "The root is ResourceQuota shop/team" in text
    disk = {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]}
    for name in ("c", "d"):
        found = sick(name, pods.running(), spec=disk)
        waiting = pods.pod(found.revisions[0], unschedulable="pod has unbound immediate PersistentVolumeClaims")
        text = told(roots, objects.workload(found.resource, [waiting], found.revisions))
    assert "The root is PersistentVolumeClaim shop/disk" in text


NAMES = st.sampled_from("abc")


@given(st.lists(st.tuples(NAMES, st.integers(0, 3), st.frozensets(NAMES), st.frozensets(NAMES)), max_size=6))
def test_a_root_is_never_the_workload_itself_and_the_search_always_ends(rows: list[Any]) -> None:
    cases = [
        Case(Thing("Deployment", "n", name), ago(minutes=since), f"m-{name}", frozenset(needs), calls, NOW)
        for name, since, shared, calls in rows
        for needs in [{Thing("ConfigMap", "n", one) for one in shared}]
    ]
    for case in cases:
        text = root_of(case, cases)
        assert f"It calls {case.who}," not in text
        assert f": {case.who} fail" not in text
