"""What the soak's reader makes of an audit log, of a workload, and of memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.controller.ledger import Fault, Ledger, Memory, audit
from bench.scenarios.stage import USER

PATCH = {"op": "replace", "path": "/spec/replicas", "value": 2}


def entry(resource: str, name: str, subresource: str = "", *, dry: bool = False, code: int = 200) -> dict[str, Any]:
    about = {"resource": resource, "namespace": "amber", "name": name, "subresource": subresource}
    if resource == "remediations":
        about["apiGroup"] = "aiops.example.com"
    return {
        "stage": "ResponseComplete",
        "stageTimestamp": "2026-11-25T10:00:00Z",
        "verb": "patch",
        "user": {"username": USER},
        "requestURI": "/apis/x" + ("?dryRun=All" if dry else ""),
        "responseStatus": {"code": code},
        "objectRef": about,
    }


def record(result: str = "Successful", operations: int = 1, undo: int = 1) -> dict[str, Any]:
    change = {"operations": [PATCH] * operations}
    attempt = {"result": result, "change": change, "undo": [PATCH] * undo}
    return {
        "metadata": {"namespace": "amber", "name": "rem-1"},
        "spec": {"target": {"name": "shop-0"}},
        "status": {"attempts": [attempt]},
    }


def written(tmp_path: Path, *entries: dict[str, Any], records: list[Any] | None = None) -> Any:
    log = tmp_path / "audit.log"
    log.write_text("".join(json.dumps(one) + "\n" for one in entries))
    return audit(log, 0, [record()] if records is None else records)


STORED = entry("remediations", "rem-1", "status")


def test_a_write_that_a_record_plans_is_in_order(tmp_path: Path) -> None:
    found = written(tmp_path, STORED, entry("deployments", "shop-0"), entry("deployments", "shop-0", dry=True))
    assert (found.writes, found.twice, found.unrecorded) == (1, [], [])


def test_a_write_before_its_record_is_found(tmp_path: Path) -> None:
    found = written(tmp_path, entry("deployments", "shop-0"), STORED)
    assert len(found.unrecorded) == 1


def test_a_write_too_many_is_found_and_a_refused_one_is_none(tmp_path: Path) -> None:
    writes = [entry("deployments", "shop-0")] * 2
    assert written(tmp_path, STORED, *writes).twice == []  # the change and its undo
    assert len(written(tmp_path, STORED, *writes, entry("deployments", "shop-0")).twice) == 1
    assert written(tmp_path, STORED, *writes, entry("deployments", "shop-0", code=409)).twice == []
    assert len(written(tmp_path, STORED, writes[0], records=[record("Refused")]).twice) == 1


def test_an_eviction_of_a_pod_is_a_write_to_its_workload(tmp_path: Path) -> None:
    found = written(tmp_path, STORED, entry("pods", "shop-0-abc-xyz", "eviction"))
    assert (found.writes, found.twice) == (1, [])


def deployment(ready: int, *, wanted: int = 2) -> dict[str, Any]:
    status = {"replicas": ready, "updatedReplicas": ready, "availableReplicas": ready, "observedGeneration": 3}
    return {"metadata": {"generation": 3}, "spec": {"replicas": wanted}, "status": status}


def test_a_fault_is_answered_by_a_record_or_an_event_about_it_and_by_nothing_else() -> None:
    ledger = Ledger([Fault("amber", "shop-0", "crashloop", 1000.0, {})])
    (fault,) = ledger.faults
    event = {
        "reportingController": "aiops.example.com/selfheal",
        "regarding": {"name": "shop-1"},
        "eventTime": "2026-11-25T10:00:00Z",
    }
    ledger.look(fault, deployment(1), [], [event, event | {"reportingController": "kubelet"}], 1001.0)
    assert ledger.waiting() == [fault]
    ledger.look(fault, deployment(1), [], [event | {"regarding": {"name": "shop-0"}}], 1002.0)
    assert (fault.told, fault.ended) == (1002.0, None)


def test_a_workload_without_replicas_is_not_well() -> None:
    ledger = Ledger([Fault("amber", "shop-0", "zero", 1000.0, {})])
    ledger.look(ledger.faults[0], deployment(0, wanted=0), [], [], 1001.0)
    assert ledger.is_broken("amber", "shop-0")
    ledger.look(ledger.faults[0], deployment(2), [], [], 1002.0)
    assert not ledger.is_broken("amber", "shop-0")


def test_memory_that_grows_has_a_slope_and_a_short_life_has_none() -> None:
    memory = Memory()
    for second in range(0, 1200, 5):
        memory.note(1, second, (100 + second / 60) * 2**20)
    for second in range(0, 200, 5):
        memory.note(2, second, 100 * 2**20)
    ((first, last, slope),) = memory.slopes()
    assert first < last
    assert round(slope) == 60
