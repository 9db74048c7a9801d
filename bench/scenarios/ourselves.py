"""Faults of selfheal's own world: too many at once, a fix that fails, a killed controller, lies, and a calm day."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bench.client import Resource
from bench.scenarios import oracle
from bench.scenarios.objects import QUICK, path, policy, thing, workload
from bench.scenarios.scenario import Answer, Budget, Scenario, Tier
from bench.scenarios.stage import Stage

_LIVES = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0)
"""Seconds for which the controller leads before it is killed."""
_OWNERS = 200
_PODS = 50


def _plain(_: Stage) -> list[Resource]:
    return [workload()]


def _crash(stage: Stage) -> None:
    stage.fail("crashloop")


# A storm.


def _crowd(_: Stage) -> list[Resource]:
    return [workload(replicas=_PODS), *(workload(f"w{one:03d}", replicas=1) for one in range(_OWNERS))]


def _storm(stage: Stage) -> None:
    stage.wait(lambda: _rolled_out(stage) > _OWNERS, "all owners well before the storm", 180)
    stage.fail("crashloop")
    time.sleep(15)  # first one owner with many pods, then everybody
    for one in range(_OWNERS):
        stage.fail("crashloop", f"w{one:03d}")


def _rolled_out(stage: Stage) -> int:
    found = stage.items("Deployment")
    return sum(one.get("status", {}).get("availableReplicas", 0) == one["spec"]["replicas"] for one in found)


def _bounded(stage: Stage) -> str:
    targets = [one["spec"]["target"]["name"] for one in stage.remediations()]
    if targets.count("cart") != 1:
        return f"{targets.count('cart')} remediations for one owner with {_PODS} failing pods"
    changed = {entry["objectRef"].get("name") for entry in oracle.writes(stage, stage.memory.get("audit", 0))}
    if len(targets) > 6:
        return f"{len(targets)} remediations in one namespace, 6 are allowed in an hour"
    reasons = {one.get("reason") for one in stage.items("Event") if one.get("type") == "Warning"}
    if not reasons & {"Storm", "BudgetExhausted"}:
        return f"nobody was told that most of it is left alone ({len(changed)} workloads were changed)"
    return ""


# A fix that fails.


def _out_of_memory(stage: Stage) -> None:
    stage.fail("oom")


# A controller that dies all the time.


def _kill(stage: Stage) -> None:
    """Some time after it began to lead, later each time, so that another step is hit; bench/killtable.py hits all."""
    kills, led = int(stage.memory.get("kills", 0)), stage.said("leading")
    if led == stage.memory.get("led", 0) or kills >= len(_LIVES):
        return
    begun = float(stage.memory.setdefault(f"led-{led}", time.time()))
    if time.time() - begun >= _LIVES[kills]:
        stage.kill_controller()
        stage.memory |= {"kills": kills + 1, "led": led}
        stage.start_controller()


def _once(stage: Stage) -> str:
    changes = [one for one in oracle.writes(stage, 0) if one["objectRef"].get("namespace") == stage.namespace]
    written = [one for one in changes if one["verb"] == "patch"]
    return "" if len(written) == 1 else f"the fix was written {len(written)} times"


# An endpoint and a Prometheus that lie.


class _Liar(BaseHTTPRequestHandler):
    """Answers everything, and nothing of it can be believed."""

    def do_GET(self) -> None:
        self._answer({"status": "success", "data": {"resultType": "matrix", "result": _samples()}})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "query" in self.path:
            self.do_GET()
        else:
            self._answer({"outputs": [{"name": "anomaly", "datatype": "FP64", "shape": [1], "data": [float("nan")]}]})

    def _answer(self, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _samples() -> list[Resource]:
    """A series of NaN that ended an hour ago."""
    values = [[time.time() - 3600 - 60 * number, "NaN"] for number in range(60, 0, -1)]
    return [{"metric": {"namespace": "shop", "owner_kind": "Deployment", "owner_name": "cart"}, "values": values}]


def _lies(stage: Stage) -> dict[str, str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Liar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stage.memory["liar"] = server
    url = f"http://127.0.0.1:{server.server_port}"
    return {"SELFHEAL_ENDPOINT_URL": url, "SELFHEAL_PROMETHEUS_URL": url, "SELFHEAL_TICK_SECONDS": "2"}


def _end_lies(stage: Stage) -> None:
    server: ThreadingHTTPServer = stage.memory["liar"]
    server.shutdown()
    server.server_close()


def _calm_neighbour(_: Stage) -> list[Resource]:
    return [workload(), workload("calm")]


def _neighbour_left(stage: Stage) -> str:
    changed = [one["objectRef"].get("name") for one in oracle.writes(stage, 0)]
    ours = [one for one in stage.remediations() if one["spec"]["target"]["name"] == "calm"]
    return "a workload that only lies accuse was touched" if "calm" in changed or ours else ""


# A calm day, in a minute.


def _day(stage: Stage) -> None:
    stage.memory["begun"] = time.time()


def _busy_day(stage: Stage) -> None:
    """A rollout, a scale-up and down, a lost pod and a pause: in turn, all of them as people do it."""
    turn = int((time.time() - stage.memory["begun"]) // 6)
    if stage.memory.get("turn") == turn:
        return
    stage.memory["turn"] = turn
    match turn % 5:
        case 0:
            stage.change(env=[{"name": "RELEASE", "value": str(turn)}])
        case 1:
            stage.patch("Deployment", "cart", {"spec": {"replicas": 4}})
        case 2:
            pods = stage.pods()
            if pods:
                stage.client.delete(path("Pod", stage.namespace, pods[0]["metadata"]["name"]))
        case 3:
            stage.patch("Deployment", "cart", {"spec": {"replicas": 2}})
        case _:
            stage.apply(thing("ConfigMap", "daily", data={"turn": str(turn)}))


def _silent(stage: Stage) -> str:
    return f"{len(stage.remediations())} remediations on a calm day" if stage.remediations() else ""


_EVERYTHING = tuple(
    policy(kind, action, **QUICK)
    for kind, action in (
        ("CrashLoopBackOff", "rollback"),
        ("OOMKilled", "adjust-resources"),
        ("PodPending", "rollback"),
        ("ProbeFailure", "restart"),
        ("RolloutStuck", "rollback"),
        ("MetricAnomaly", "scale"),
    )
)

OURSELVES: tuple[Scenario, ...] = (
    Scenario(
        number=33,
        title=f"{_PODS} pods of one owner fail, then {_OWNERS} owners at once",
        tier=Tier.API,
        answer=Answer.BOUNDED,
        baseline=_crowd,
        policies=(policy("CrashLoopBackOff", "rollback", **QUICK),),
        fault=_storm,
        watch=150.0,
        also=_bounded,
        config={"suspended": False},
    ),
    Scenario(
        number=36,
        title="the fix itself fails",
        tier=Tier.API,
        answer=Answer.UNDO,
        baseline=_plain,
        policies=(
            policy(
                "OOMKilled",
                "adjust-resources",
                maxRetries=1,
                verification={"stabilizationPeriod": "5s", "timeout": "15s"},
            ),
        ),
        fault=_out_of_memory,
    ),
    Scenario(
        number=37,
        title="the controller is killed again and again while it heals",
        tier=Tier.API,
        answer=Answer.HEAL,
        baseline=_plain,
        policies=(policy("CrashLoopBackOff", "rollback", **QUICK),),
        fault=_crash,
        budget=Budget(detected=60.0, recovered=200.0, verified=300.0),
        calm=5.0,
        during=_kill,
        also=_once,
    ),
    Scenario(
        number=38,
        title="endpoint and Prometheus answer with NaN and stale samples",
        tier=Tier.API,
        answer=Answer.HEAL,
        baseline=_calm_neighbour,
        policies=(policy("CrashLoopBackOff", "rollback", **QUICK), policy("MemoryLeak", "restart", **QUICK)),
        fault=_crash,
        calm=15.0,
        also=_neighbour_left,
        after=_end_lies,
        env=_lies,
    ),
    Scenario(
        number=39,
        title="a calm day: rollouts, scaling, lost pods",
        tier=Tier.API,
        answer=Answer.NOTHING,
        baseline=_plain,
        policies=_EVERYTHING,
        fault=_day,
        watch=75.0,
        during=_busy_day,
        also=_silent,
    ),
)
